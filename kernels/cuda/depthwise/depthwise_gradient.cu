// Both gradients of the depthwise convolution in one pass over x and dy. The input falls into cells
// of stride x stride pixels: cell (k, j) holds rows stride * k - before and on, and columns alike.
// Its pixels meet the same few rows of dy, k and those above, whatever the window: so a thread
// rolls down cells and holds those rows, which serve the data gradient (times the taps) and the
// weight gradient (times x).
#include "kernels/cuda/depthwise/depthwise_gradient.h"

#include "kernels/cuda/depthwise/depthwise_cells.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ordered_sum.h"

namespace dfengine::cuda {
namespace {

using namespace depthwise;

// With more channels the sums of nine taps and the rows of dy would not fit in registers.
constexpr int kChannels = 2;
constexpr int kBlocksPerSm = 2;
// Of each channel: the nine taps' gradients, and the sums of dx and of dx * (x - mean).
constexpr int kTaps = static_cast<int>(DepthwiseProblem::kTaps), kTotals = kTaps + 2;
// From one sum to the next in shared memory: other banks.
constexpr int kPitch = kStripThreads + 8;

using Pair = float[kChannels];

__device__ __forceinline__ void load_pair(const float* from, Pair& to) {
  const float2 pair = *reinterpret_cast<const float2*>(from);
  to[0] = pair.x, to[1] = pair.y;
}

// Of one thread's channels. The factors of the gradient on load would take registers that the sums
// need: they are loaded anew for each row.
template <class T, bool kGradient>
struct ChannelVectors {
  Pair scale, shift, mean;
  const float* factors;
  int channel;
  std::uint32_t taps[kTaps];

  __device__ __forceinline__ ChannelVectors(const NormOnLoad& norm, const GradientOnLoad& gradient,
                                            const T* w, int c, int first)
      : factors(gradient.factors), channel(first) {
    load_pair(norm.scale + channel, scale);
    load_pair(norm.shift + channel, shift);
    load_pair(norm.mean + channel, mean);
#pragma unroll
    for (int i = 0; i < kTaps; ++i)
      taps[i] = *reinterpret_cast<const std::uint32_t*>(w + i * c + channel);
  }
};

// One row of dy as it is used: where it has still to take the last step of its batch norm, rounded
// as the batch norm would have stored it. Packed, the rows that wait take half the registers.
template <int Stride, class T, bool kGradient>
__device__ __forceinline__ void take_row(const Step<Stride>& step, ChannelVectors<T, kGradient>& v,
                                         int c, std::uint32_t (&row)[Cells<Stride>::kWindow]) {
  Pair factors[3];
  if constexpr (kGradient) {
    const float* const from = v.factors + forget(v.channel);
#pragma unroll
    for (int i = 0; i < 3; ++i) load_pair(from + i * c, factors[i]);
  }
#pragma unroll
  for (int j = 0; j < Cells<Stride>::kWindow; ++j) {
    row[j] = step.dy[j];
    if constexpr (kGradient) {
      Pair dy, y;
      unpack_pair<T>(step.dy[j], dy);
      unpack_pair<T>(step.y[j], y);
#pragma unroll
      for (int i = 0; i < kChannels; ++i)
        dy[i] = fmaf(factors[0][i], dy[i], fmaf(factors[1][i], y[i], factors[2][i]));
      row[j] = step.inside >> j & 1 ? pack_pair<T>(dy[0], dy[1]) : 0;
    }
  }
}

// The rows of dy that cells meet.
template <int Stride>
using Window = std::uint32_t[Cells<Stride>::kDepth][Cells<Stride>::kWindow];

// Whether the image has pixel (Row, Column) of a cell.
template <int Stride, int Row, int Column>
__device__ __forceinline__ bool has_pixel(const Step<Stride>& step, int cell) {
  return step.inside >> (Cells<Stride>::kWindow + Row * kPixels + cell * Stride + Column) & 1;
}

// Takes the gradients of these pixels. window: the rows of dy, of which the newest is in slot
// `turn`. Each tap is unpacked once for all cells.
template <int Stride, int Row, int Column, class T, bool kGradient>
__device__ __forceinline__ void take_pixels(const ChannelVectors<T, kGradient>& v,
                                            Activation activation, const Step<Stride>& step,
                                            const Window<Stride>& window, int turn,
                                            Pair (&totals)[kTotals],
                                            std::uint32_t (&stored)[Cells<Stride>::kColumns]) {
  constexpr int kDepth = Cells<Stride>::kDepth, kCells = Cells<Stride>::kColumns;
  Pair z[kCells], dx[kCells] = {};
#pragma unroll
  for (int cell = 0; cell < kCells; ++cell) {
    unpack_pair<T>(step.x[Row][cell * Stride + Column], z[cell]);
#pragma unroll
    for (int i = 0; i < kChannels; ++i) z[cell][i] = normalised(z[cell][i], v.scale[i], v.shift[i]);
    // As forward has seen it.
    const std::uint32_t seen =
        clamp_pair<T>(pair_bounds<T>(activation), pack_pair<T>(z[cell][0], z[cell][1]));
    unpack_pair<T>(has_pixel<Stride, Row, Column>(step, cell) ? seen : 0, z[cell]);
  }
#pragma unroll
  for (int d = 0; Stride * d + Row < 3; ++d)
#pragma unroll
    for (int e = 0; Stride * e + Column < 3; ++e) {
      const int tap = (Stride * d + Row) * 3 + Stride * e + Column;
      Pair w;
      unpack_pair<T>(v.taps[tap], w);
#pragma unroll
      for (int cell = 0; cell < kCells; ++cell) {
        Pair dy;
        unpack_pair<T>(window[(turn + kDepth - d) % kDepth][cell + kDepth - 1 - e], dy);
#pragma unroll
        for (int i = 0; i < kChannels; ++i) {
          dx[cell][i] = fmaf(dy[i], w[i], dx[cell][i]);
          totals[tap][i] = fmaf(z[cell][i], dy[i], totals[tap][i]);
        }
      }
    }
#pragma unroll
  for (int cell = 0; cell < kCells; ++cell) {
    Pair x;
    unpack_pair<T>(step.x[Row][cell * Stride + Column], x);
    const bool inside = has_pixel<Stride, Row, Column>(step, cell);
#pragma unroll
    for (int i = 0; i < kChannels; ++i)
      if (!inside || !passes_gradient(activation, normalised(x[i], v.scale[i], v.shift[i])))
        dx[cell][i] = 0.0f;
    stored[cell] = pack_pair<T>(dx[cell][0], dx[cell][1]);
    unpack_pair<T>(stored[cell], dx[cell]);
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      totals[kTaps][i] += dx[cell][i];
      totals[kTaps + 1][i] = fmaf(dx[cell][i], x[i] - v.mean[i], totals[kTaps + 1][i]);
    }
  }
}

// The pixels of one step. first: where the first of them goes.
template <int Stride, class T, bool kGradient>
__device__ __forceinline__ void take_cells(const GradientWork& work,
                                           ChannelVectors<T, kGradient>& v, Activation activation,
                                           const Step<Stride>& step, Window<Stride>& window,
                                           int turn, T* dx, unsigned first,
                                           Pair (&totals)[kTotals]) {
#pragma unroll
  for (std::uint32_t& tap : v.taps) stay_packed(tap);
#pragma unroll
  for (auto& row : window)
#pragma unroll
    for (std::uint32_t& dy : row) stay_packed(dy);
  const auto take = [&]<int Row, int Column>() {
    std::uint32_t stored[Cells<Stride>::kColumns];
    take_pixels<Stride, Row, Column>(v, activation, step, window, turn, totals, stored);
#pragma unroll
    for (int cell = 0; cell < Cells<Stride>::kColumns; ++cell)
      if (has_pixel<Stride, Row, Column>(step, cell))
        *reinterpret_cast<std::uint32_t*>(
            dx + (first + static_cast<unsigned>(Row * work.w + cell * Stride + Column) *
                              static_cast<unsigned>(forget(work.c)))) = stored[cell];
  };
  take.template operator()<0, 0>();
  if constexpr (Stride == 2) {
    take.template operator()<0, 1>();
    take.template operator()<1, 0>();
    take.template operator()<1, 1>();
  }
}

template <int Stride, class T, bool kGradient>
__device__ __forceinline__ void take_strip(const GradientWork& work, const Tensors<T>& at,
                                           ChannelVectors<T, kGradient>& v, Activation activation,
                                           unsigned item, int channel, Pair (&totals)[kTotals]) {
  constexpr int kDepth = Cells<Stride>::kDepth;
  Strip<T, Stride, kGradient> strip(work, at, item, channel);
  Window<Stride> window;
  Step<Stride> ahead;
  strip.load(ahead);
  // The rows take turns in their slots: nothing moves between registers.
  while (strip.more()) {
#pragma unroll
    for (int turn = 0; turn < kDepth; ++turn) {
      if (!strip.more()) return;
      take_row<Stride>(ahead, v, work.c, window[turn]);
      const Step<Stride> step = ahead;
      const bool has_cells = strip.has_cells();
      strip.next();
      strip.load(ahead);
      if (!has_cells) continue;
      take_cells<Stride>(work, v, activation, step, window, turn, at.dx, strip.last_x(), totals);
    }
  }
}

// Adds the totals of each channel over the lanes of the block.
__device__ __forceinline__ void reduce_block(const GradientWork& work, int first_channel, int width,
                                             const Pair (&totals)[kTotals], float* partials,
                                             float* sums) {
  __shared__ float buffer[kTotals * kChannels * kPitch];
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < kTotals * kChannels; ++i)
    buffer[i * kPitch + thread] = totals[i / kChannels][i % kChannels];
  __syncthreads();
  for (int out = thread; out < width * kTotals * kChannels; out += kStripThreads) {
    const int i = out % kChannels, group = out / kChannels % width, v = out / kChannels / width;
    const float* const from = buffer + (v * kChannels + i) * kPitch + group;
    float sum = 0.0f;
    for (int lane = 0; lane < work.lanes; ++lane) sum += from[lane * work.channels.width];
    float* const to = v < kTaps ? partials + v * work.c : sums + (v - kTaps) * work.c;
    to[first_channel + group * kChannels + i] = sum;
  }
}

// partials [ranges, 3, 3, c], sums [ranges, 2, c].
template <class T, int Stride, bool kGradient>
__global__ void __launch_bounds__(kStripThreads, kBlocksPerSm)
    depthwise_gradient_kernel(GradientWork work, Tensors<T> at, const T* __restrict__ w,
                              NormOnLoad norm, GradientOnLoad gradient,
                              float* __restrict__ partials, float* __restrict__ sums) {
  await_previous_kernels();
  const unsigned range = blockIdx.y;
  const StripThread thread(work);
  const int channel = (thread.first_group + thread.group) * kChannels;
  Pair totals[kTotals] = {};
  if (thread.works) {
    ChannelVectors<T, kGradient> v(norm, gradient, w, work.c, channel);
    const auto lanes = static_cast<unsigned>(work.lanes);
    const unsigned end = work.first_item(range + 1);
    for (unsigned item = work.first_item(range) + static_cast<unsigned>(thread.lane); item < end;
         item += lanes)
      take_strip<Stride>(work, at, v, norm.activation, item, channel, totals);
  }
  reduce_block(work, thread.first_group * kChannels, thread.width, totals,
               partials + Index{range} * kTaps * work.c, sums + Index{range} * 2 * work.c);
}

GradientWork divide(const DepthwiseProblem& p) {
  const auto first_row = static_cast<int>(p.before_h / p.stride),
             first_column = static_cast<int>(p.before_w / p.stride);
  const Index rows = (p.h - 1 + p.before_h) / p.stride - first_row + 1;
  const Index columns = (p.w - 1 + p.before_w) / p.stride - first_column + 1;
  return {StripWork::of("depthwise gradient", p, kChannels, rows, divide_up(columns, 3 - p.stride)),
          first_row, first_column};
}

}  // namespace

bool has_depthwise_backward_sums(const Shape& x) {
  return x.count() <= kMostCounted;
}

Index depthwise_gradient_parts(const DepthwiseProblem& p) {
  return divide(p).ranges;
}

Index depthwise_gradient_scratch(const DepthwiseProblem& p) {
  return divide(p).ranges * Index{kTaps} * p.c;
}

template <class T>
void depthwise_backward_sums(Stream stream, const DepthwiseProblem& p, const T* x, const T* y,
                             const T* dy, const T* w, const NormOnLoad& norm,
                             const GradientOnLoad& gradient, float* scratch, float* dw, T* dx,
                             const GradientSums& sums) {
  require_vectors("depthwise gradient", p.c,
                  {x, y, dy, w, norm.scale, norm.shift, norm.mean, gradient.factors, dx});
  require_few_values("depthwise gradient", "a batch", p.input().count());
  const GradientWork work = divide(p);
  constexpr void (*kKernels[2][2])(GradientWork, Tensors<T>, const T*, NormOnLoad, GradientOnLoad,
                                   float*, float*) = {
      {depthwise_gradient_kernel<T, 1, false>, depthwise_gradient_kernel<T, 1, true>},
      {depthwise_gradient_kernel<T, 2, false>, depthwise_gradient_kernel<T, 2, true>}};
  launch(stream, "depthwise gradient", kKernels[p.stride - 1][gradient.present()], work.grid(),
         kStripThreads, 0, work, Tensors<T>{.x = x, .y = y, .dy = dy, .dx = dx}, w, norm, gradient,
         scratch, sums.values);
  if (dw != nullptr) ordered_sum(stream, work.ranges, kTaps * p.c, work.ranges, scratch, dw);
}

#define DF_INSTANTIATE(T)                                                                         \
  template void depthwise_backward_sums(                                                          \
      Stream, const DepthwiseProblem&, const T*, const T*, const T*, const T*, const NormOnLoad&, \
      const GradientOnLoad&, float*, float*, T*, const GradientSums&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
