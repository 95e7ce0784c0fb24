// Weight gradient of the stem on the GPU. First each block sums a fixed range of tiles. In float a
// thread owns one row of the window times eight channels, 9 x 8 sums in registers, and one output
// row of each tile; 16-bit types go through tensor cores (stem_gradient_tensor.cuh). Then
// ordered_sum adds the blocks.
#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/requirements.cuh"
#include "kernels/cuda/stem/stem_gradient.cuh"
#include "kernels/cuda/stem/stem_gradient_tensor.cuh"

namespace dfengine::cuda {
namespace {

using namespace stem;

constexpr int kOwners = 3 * kTileGroups;  // threads that share an output row: window row x group
constexpr int kThreads = kTile * kOwners;
constexpr int kBlocksPerSm = 2;
// This fills the largest GPU that we know. It is a constant because sums must not depend on the
// device.
constexpr Index kBlocks = 264;
struct FloatLayout {
  static constexpr int kThreads = kTile * kOwners;
  // The pixels from one row to the next, so that rows begin at different banks.
  static constexpr int kPitch = kTile + 1;
  static constexpr int kCount = kTile * kPitch * kTileChannels;
  static __device__ __forceinline__ int place(int row, int column) {
    return (row * kPitch + column) * kTileChannels;
  }
};
// The floats from one sum to the next, so that eight channels times four groups are 32 different
// banks.
constexpr int kSumPitch = kThreads + 4;
constexpr int kSums = 3 * kVector;  // per column of the window

// tensors: how many of dy and y a block holds.
template <int Stride>
constexpr std::size_t shared_bytes(int tensors) {
  return std::max<std::size_t>(TileInput<Stride>::kCount + tensors * FloatLayout::kCount,
                               kSums * kSumPitch) *
         sizeof(float);
}

// sums [s * 3 + c] += one row of the tile's dy times the input under it. input and gradient begin
// at the row. So many outputs at a time read the input at multiples of 16 bytes.
template <int Stride>
__device__ __forceinline__ void add_row(const float* input, const float* gradient,
                                        float (&sums)[9][kVector]) {
  constexpr int kTogether = 4 / Stride;
#pragma unroll 1
  for (int q = 0; q < kTile; q += kTogether) {
    float x[(3 * Stride * (kTogether - 1) + 9 + 3) / 4 * 4];
    load_values(input + 3 * Stride * q, x);
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      float dy[kVector];
      load8(gradient + (q + j) * kTileChannels, dy);
#pragma unroll
      for (int tap = 0; tap < 9; ++tap)
#pragma unroll
        for (int i = 0; i < kVector; ++i)
          sums[tap][i] = fmaf(x[3 * Stride * j + tap], dy[i], sums[tap][i]);
    }
  }
}

// Adds the sums of the block over its output rows and writes them to partials [3, 3, 3, k]. buffer
// [kSums, kSumPitch] holds one column of the window at a time.
__device__ __forceinline__ void reduce_block(const StemWork& work, int first_channel, int groups,
                                             const float (&sums)[9][kVector], float* buffer,
                                             float* partials) {
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int s = 0; s < 3; ++s) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kSums; ++i)
      buffer[i * kSumPitch + thread] = sums[s * 3 + i / kVector][i % kVector];
    __syncthreads();
    for (int out = thread; out < kSums * kOwners; out += kThreads) {
      const int i = out % kVector, owner = out / kVector % kOwners, c = out / kVector / kOwners;
      const int group = owner % kTileGroups, r = owner / kTileGroups;
      if (group >= groups) continue;
      const float* from = buffer + (c * kVector + i) * kSumPitch + owner;
      float sum = 0.0f;
#pragma unroll
      for (int row = 0; row < kTile; ++row) sum += from[row * kOwners];
      partials[((r * 3 + s) * 3 + c) * work.k + first_channel + group * kVector + i] = sum;
    }
  }
}

// y and dy [n, p, q, k], partials [ranges, 3, 3, 3, k].
template <int Stride, bool kGradient>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    stem_weight_float_kernel(StemWork work, GradientTiles<float, Values<float>> tiles,
                             float* __restrict__ partials) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(memory);
  auto* const input = reinterpret_cast<float*>(memory);
  float* const gradient = input + TileInput<Stride>::kCount;
  float* const result = gradient + FloatLayout::kCount;
  const unsigned range = blockIdx.x / work.channel_tiles;
  const int first_channel = static_cast<int>(blockIdx.x % work.channel_tiles) * kTileChannels;
  const int groups = groups_in(work, first_channel);
  const int row = static_cast<int>(threadIdx.x) / kOwners;
  const int r = static_cast<int>(threadIdx.x) % kOwners / kTileGroups;
  const int group = static_cast<int>(threadIdx.x) % kTileGroups;
  float sums[9][kVector] = {};
  tiles.template for_each<Stride, FloatLayout, kGradient>(
      work, range, first_channel, groups, input, gradient, result, [&] {
        if (group < groups)
          add_row<Stride>(input + (Stride * row + r) * TileInput<Stride>::kPitch,
                          gradient + FloatLayout::place(row, 0) + group * kVector, sums);
      });
  reduce_block(work, first_channel, groups, sums, input, partials + Index{range} * 27 * work.k);
}

// The same on tensor cores.
template <int Stride, bool kGradient, class T, class Source>
__global__ void __launch_bounds__(GradientLayout::kThreads, kBlocksPerSm)
    stem_weight_kernel(StemWork work, GradientTiles<T, Source> tiles,
                       float* __restrict__ partials) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(memory);
  T* const gradient = reinterpret_cast<T*>(memory);
  T* const result = gradient + GradientLayout::kCount;
  T* const input = kGradient ? result + GradientLayout::kCount : result;
  const unsigned range = blockIdx.x / work.channel_tiles;
  const int first_channel = static_cast<int>(blockIdx.x % work.channel_tiles) * kTileChannels;
  const int groups = groups_in(work, first_channel);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  clear_unused_channels(groups, gradient);
  const DepthPlaces<Stride> places(lane);
  WeightSums sums = {};
  tiles.template for_each<Stride, GradientLayout, kGradient>(
      work, range, first_channel, groups, input, gradient, result, [&] {
        for (int row = warp; row < kTile; row += GradientLayout::kWarps)
          add_row_of_windows(input + Stride * row * TileInput<Stride>::kPitch,
                             gradient + GradientLayout::place(row, 0), places, lane, sums);
      });
  reduce_warps(work, first_channel, groups, sums, reinterpret_cast<float*>(memory),
               partials + Index{range} * 27 * work.k);
}

unsigned tiles_per_block(const StemWork& work) {
  return static_cast<unsigned>(divide_up(work.tiles, divide_up(kBlocks, work.channel_tiles)));
}

Index ranges(const StemWork& work) {
  return divide_up(work.tiles, tiles_per_block(work));
}

}  // namespace

Index stem_weight_scratch(const StemProblem& p) {
  return ranges(StemWork::of(p)) * 27 * p.k;
}

template <class T>
void stem_backward_weight(Stream stream, const StemProblem& p, const StemInput<T>& x, const T* dy,
                          float* scratch, float* dw, const T* y, const GradientOnLoad& gradient) {
  require_vectors("stem weight gradient", p.k, {dy, y, gradient.factors});
  const StemWork work = StemWork::of(p);
  const bool loads = gradient.present();
  with_source(x, [&](auto source) {
    using Source = decltype(source);
    const auto start = [&](auto kernel, int threads, std::size_t shared) {
      launch(stream, "stem weight gradient", kernel, blocks(ranges(work) * work.channel_tiles),
             static_cast<unsigned>(threads), shared, work,
             GradientTiles<T, Source>{source, y, dy, gradient, tiles_per_block(work)}, scratch);
    };
    const auto with_stride = [&](auto stride) {
      constexpr int kStride = stride;
      if constexpr (std::is_same_v<T, float>)
        start(loads ? stem_weight_float_kernel<kStride, true>
                    : stem_weight_float_kernel<kStride, false>,
              kThreads, shared_bytes<kStride>(loads ? 2 : 1));
      else
        start(loads ? stem_weight_kernel<kStride, true, T, Source>
                    : stem_weight_kernel<kStride, false, T, Source>,
              GradientLayout::kThreads, GradientLayout::bytes<kStride, T>(loads ? 2 : 1));
    };
    if (p.stride == 1)
      with_stride(std::integral_constant<int, 1>{});
    else
      with_stride(std::integral_constant<int, 2>{});
  });
  ordered_sum(stream, ranges(work), 27 * p.k, ranges(work), scratch, dw);
}

#define DF_INSTANTIATE(T)                                                                       \
  template void stem_backward_weight(Stream, const StemProblem&, const StemInput<T>&, const T*, \
                                     float*, float*, const T*, const GradientOnLoad&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
