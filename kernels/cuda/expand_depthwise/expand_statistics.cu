// Mean and covariance of x over all rows, and what they make of the expansion's batch norm.
#include "kernels/cuda/expand_depthwise/expand_depthwise_input.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/norm_on_load.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

using namespace expand_depthwise;

constexpr Index entries(Index depths) {
  return depths * depths + depths;
}

// Parts of x, of as many rows as a tile has pixels.
Index gram_parts(const ExpandDepthwiseProblem& p) {
  Index parts = 0;
  with_input<Half>(p, nullptr, [&](auto input) { parts = decltype(input)::parts(p); });
  return parts;
}
Index gram_blocks(const ExpandDepthwiseProblem& p) {
  return std::min(kMostBlocks, gram_parts(p));
}

// parts [blocks, depth * depth + depth]: x^T x over the block's rows, and behind it the sums of x.
// What the tensor cores add up over some rows is added to the sums in float, which they would not
// round.
template <class Input, class T>
__global__ void __launch_bounds__(kThreads)
    gram_kernel(ExpandSizes s, Index rows, int count, Input x, float* __restrict__ parts) {
  await_previous_kernels();
  constexpr int In = Input::kDepth, kXPitch = Input::kPitch, kTall = In / 16;
  __align__(16) __shared__ T tile[kPixels * kXPitch + Input::kPatch];
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int tall = warp % kTall, narrow = warp / kTall;  // 16 rows and 8 columns of the matrix
  float sums[4] = {}, of_rows[2] = {};
  for (int at = static_cast<int>(blockIdx.x); at < count; at += static_cast<int>(gridDim.x)) {
    __syncthreads();
    x.take(s, rows, at, tile + kPixels * kXPitch, tile);
    if (narrow >= In / 8) continue;
    PixelSums of_tile;
    of_tile.add(tile + 16 * tall, kXPitch, tile + 8 * narrow, kXPitch, narrow == 0);
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] += of_tile.products[i];
    of_rows[0] += of_tile.totals[0];
    of_rows[1] += of_tile.totals[2];
  }
  if (narrow >= In / 8) return;
  float* const part = parts + blockIdx.x * entries(In);
#pragma unroll
  for (int which = 0; which < 2; ++which) {
    const int row = 16 * tall + g + 8 * which;
    float* const to = part + row * In + 8 * narrow + 2 * t;
    to[0] = sums[2 * which];
    to[1] = sums[2 * which + 1];
    if (narrow == 0 && t == 0) part[In * In + row] = of_rows[which];
  }
}

// The sums of all parts, in double: a warp for each.
__global__ void __launch_bounds__(kThreads)
    gram_sum_kernel(int parts, int count, const float* __restrict__ of_parts,
                    double* __restrict__ sums) {
  await_previous_kernels();
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int entry =
      static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarpSize;
  double sum = 0;
  if (entry < count)
    for (int part = lane; part < parts; part += kWarpSize)
      sum += static_cast<double>(of_parts[Index{part} * count + entry]);
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) sum += __shfl_xor_sync(kAllLanes, sum, mask);
  if (entry < count && lane == 0) sums[entry] = sum;
}

struct StatisticsPlaces {
  float *scale, *shift, *rstd, *mean, *covariance;
};

// A warp for each channel of e; lane i has row i of the covariance.
template <class Input, class T>
__global__ void __launch_bounds__(kThreads)
    expand_statistics_kernel(ExpandSizes s, double rows, double eps, double momentum,
                             const double* __restrict__ sums, ExpandStatisticsParams<T> params,
                             StatisticsPlaces to) {
  await_previous_kernels();
  constexpr int In = Input::kDepth;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int channel = static_cast<int>(blockIdx.x) * kWarps + warp;
  const bool valid = channel < s.wide;
  const auto weight = [&](int i) {
    const int at = Input::weight_at(s, channel, i);
    return at >= 0 ? static_cast<double>(to_float(params.w[at])) : 0.0;
  };
  const auto mean = [&](int i) { return sums[In * In + i] / rows; };
  const bool has_row = lane < In;
  const double own_mean = has_row ? mean(lane) : 0.0, own_weight = weight(lane);
  double product = 0;  // row of the covariance times w
  for (int j = 0; has_row && j < In; ++j) {
    const double covariance = sums[lane * In + j] / rows - own_mean * mean(j);
    product += covariance * weight(j);
    if (blockIdx.x == 0 && warp == 0) to.covariance[lane * In + j] = static_cast<float>(covariance);
  }
  if (blockIdx.x == 0 && warp == 0 && has_row) to.mean[lane] = static_cast<float>(own_mean);
  double mean_e = own_weight * own_mean, variance = own_weight * product;
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    mean_e += __shfl_xor_sync(kAllLanes, mean_e, mask);
    variance += __shfl_xor_sync(kAllLanes, variance, mask);
  }
  if (!valid || lane != 0) return;
  variance = fmax(variance, 0.0);
  const auto rstd = static_cast<float>(1.0 / sqrt(variance + eps));
  const ScaleShift norm =
      scale_shift(params.gamma[channel], params.beta[channel], static_cast<float>(mean_e), rstd);
  to.scale[channel] = norm.scale;
  to.shift[channel] = norm.shift;
  to.rstd[channel] = rstd;
  const auto moved = [&](float running, double batch) {
    return static_cast<float>(running + momentum * (batch - running));
  };
  params.next_mean[channel] = moved(params.running_mean[channel], mean_e);
  params.next_var[channel] = moved(params.running_var[channel], variance * (rows / (rows - 1)));
}

}  // namespace

Index expand_depthwise_saved_mean(const ExpandDepthwiseProblem& p) {
  return 3 * p.wide();
}
Index expand_depthwise_saved(const ExpandDepthwiseProblem& p) {
  return expand_depthwise_saved_mean(p) + entries(padded(p.in));
}

Index expand_statistics_scratch(const ExpandDepthwiseProblem& p) {
  const Index count = entries(padded(p.in));
  return count * Index{sizeof(double)} + gram_blocks(p) * count * kFloatBytes;
}

template <class T>
void expand_statistics(Stream stream, const ExpandDepthwiseProblem& p, const void* x,
                       const ExpandStatisticsParams<T>& params, void* scratch, float* saved) {
  const char* const name = "expansion's statistics";
  require_input(name, p, x, params.w);
  require_vectors(name, p.in, {scratch, saved});
  if (p.rows() < 2) throw ShapeError(std::string(name) + ": one value has no variance");
  const Index parts = gram_blocks(p), c = p.wide();
  const ExpandSizes sizes = wide_sizes(p);
  with_input<T>(p, x, [&](auto input) {
    using Input = decltype(input);
    constexpr int kIn = Input::kDepth;
    constexpr Index kCount = entries(kIn);
    auto* const sums = static_cast<double*>(scratch);
    auto* const of_parts = reinterpret_cast<float*>(sums + kCount);
    launch(stream, name, gram_kernel<Input, T>, blocks(parts), kThreads, 0, sizes, p.rows(),
           static_cast<int>(gram_parts(p)), input, of_parts);
    launch(stream, name, gram_sum_kernel, blocks(divide_up(kCount, Index{kWarps})), kThreads, 0,
           static_cast<int>(parts), static_cast<int>(kCount), of_parts, sums);
    float* const mean = saved + expand_depthwise_saved_mean(p);
    launch(stream, name, expand_statistics_kernel<Input, T>, blocks(divide_up(c, Index{kWarps})),
           kThreads, 0, sizes, static_cast<double>(p.rows()), p.eps, p.momentum, sums, params,
           StatisticsPlaces{saved, saved + c, saved + 2 * c, mean, mean + kIn});
  });
}

#define DF_INSTANTIATE(T)                                                             \
  template void expand_statistics(Stream, const ExpandDepthwiseProblem&, const void*, \
                                  const ExpandStatisticsParams<T>&, void*, float*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
