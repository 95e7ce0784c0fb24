// Weight gradient of the depthwise convolution on the GPU. First each block sums a fixed range of
// columns of pixels: a thread keeps the 9 x 8 sums of its eight channels in registers while it
// rolls down, then the threads of the same channels are added in order. Then ordered_sum adds the
// blocks.
#include <algorithm>

#include "kernels/cuda/depthwise/depthwise.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 192;
template <class T>
constexpr int kBlocksPerSm = sizeof(T) == 4 ? 1 : 2;
// This fills the largest GPU that we know. It is a constant because sums must not depend on the
// device.
constexpr Index kBlocks = 264;
constexpr int kLongestStrip = 14;
// The floats from one sum to the next in shared memory. They are 4 more than the threads, so that
// eight channels times four threads are 32 different banks both in writing and in reading.
constexpr int kPitch = kThreads + 4;
constexpr int kSums = 3 * kVector;  // per row of the window

struct WeightGradientWork : DepthwiseSizes {
  int lanes = 0;  // threads of a block that share a group of channels
  int rows = 0;   // output rows per strip
  unsigned strips = 0;
  unsigned items = 0;  // strips of one output column, in all images
  unsigned items_per_block = 0;
};

struct Item {
  Index image;
  int p, q, rows;
};

__device__ __forceinline__ Item item_of(const WeightGradientWork& work, unsigned item) {
  const unsigned columns = static_cast<unsigned>(work.q), strip = item / columns;
  const int p = static_cast<int>(strip % work.strips) * work.rows;
  return {.image = Index{strip / work.strips},
          .p = p,
          .q = static_cast<int>(item % columns),
          .rows = work.p - p < work.rows ? work.p - p : work.rows};
}

// sums += dy times one row of x.
__device__ __forceinline__ void add_row(const float (&dy)[kVector], const float (&x)[3][kVector],
                                        float (&sums)[3][kVector]) {
#pragma unroll
  for (int s = 0; s < 3; ++s)
#pragma unroll
    for (int i = 0; i < kVector; ++i) sums[s][i] = fmaf(dy[i], x[s][i], sums[s][i]);
}

template <class T>
__device__ __forceinline__ void unpack_row(const Packed<T> (&packed)[3], float (&x)[3][kVector]) {
#pragma unroll
  for (int s = 0; s < 3; ++s) unpack(packed[s], x[s]);
}

template <class T>
__device__ __forceinline__ void add_packed(const Packed<T>& packed, const float (&x)[3][kVector],
                                           float (&sums)[3][kVector]) {
  float dy[kVector];
  unpack(packed, dy);
  add_row(dy, x, sums);
}

// Input row t of a strip meets output t in the window's first row, t - 1 in its second, t - 2 in
// its last.
template <bool kNorm, class T>
__device__ __forceinline__ void roll_stride_1(RowReader<T, 3> xs, const UnloadedNorm& norm,
                                              RowReader<T, 1> dys, int rows,
                                              float (&sums)[3][3][kVector]) {
  Packed<T> x[3], first[1], second = zeros<T>(), last = zeros<T>();
  xs.read(true, x);
  dys.read(true, first);
  for (int t = 0; t < rows + 2; ++t) {
    if constexpr (kNorm) xs.normalise_row(norm, 0, x);
    float row[3][kVector];
    unpack_row(x, row);
    const Packed<T> now = first[0];
    xs.read(t < rows + 1, x);
    dys.read(t + 1 < rows, first);
    add_packed(last, row, sums[2]);
    add_packed(second, row, sums[1]);
    add_packed(now, row, sums[0]);
    last = second;
    second = now;
  }
}

template <bool kNorm, class T>
__device__ __forceinline__ void roll_stride_2(RowReader<T, 3> xs, const UnloadedNorm& norm,
                                              RowReader<T, 1> dys, int rows,
                                              float (&sums)[3][3][kVector]) {
  Packed<T> top[3], middle[3], dy[1];
  float row[3][kVector];
  xs.read(true, top);
  if constexpr (kNorm) xs.normalise_row(norm, 0, top);
  for (int t = 0; t < rows; ++t) {
    dys.read(true, dy);
    xs.read(true, middle);
    unpack_row(top, row);
    xs.read(true, top);
    add_packed(dy[0], row, sums[0]);
    if constexpr (kNorm) xs.normalise_row(norm, 1, middle);
    unpack_row(middle, row);
    add_packed(dy[0], row, sums[1]);
    if constexpr (kNorm) xs.normalise_row(norm, 0, top);
    unpack_row(top, row);
    add_packed(dy[0], row, sums[2]);
  }
}

// Adds the sums of each channel over the lanes of the block and writes them to partials [3, 3, c].
// buffer [kSums, kPitch] holds one row of the window at a time.
__device__ __forceinline__ void reduce_block(const WeightGradientWork& work, int first_channel,
                                             int width, const float (&sums)[3][3][kVector],
                                             float* buffer, float* partials) {
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int r = 0; r < 3; ++r) {
#pragma unroll
    for (int i = 0; i < kSums; ++i) buffer[i * kPitch + thread] = sums[r][i / kVector][i % kVector];
    __syncthreads();
    for (int out = thread; out < width * kSums; out += kThreads) {
      const int i = out % kVector, group = out / kVector % width, s = out / kVector / width;
      const float* from = buffer + (s * kVector + i) * kPitch + group;
      float sum = 0.0f;
      for (int lane = 0; lane < work.lanes; ++lane) sum += from[lane * work.channels.width];
      partials[(r * 3 + s) * work.c + first_channel + group * kVector + i] = sum;
    }
    __syncthreads();
  }
}

// x [n, h, w, c], dy [n, p, q, c], partials [ranges, 3, 3, c].
template <class T, int Stride, bool kNorm>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm<T>)
    depthwise_weight_kernel(WeightGradientWork work, const T* __restrict__ x, NormOnLoad norm,
                            const T* __restrict__ dy, float* __restrict__ partials) {
  DF_DYNAMIC_SHARED(memory);
  const auto tiles = static_cast<unsigned>(work.channels.tiles);
  const int tile = static_cast<int>(blockIdx.x % tiles);
  const unsigned range = blockIdx.x / tiles;
  const int first_group = tile * work.channels.width;
  const int width = work.channels.groups - first_group < work.channels.width
                        ? work.channels.groups - first_group
                        : work.channels.width;
  const int group = static_cast<int>(threadIdx.x) % work.channels.width;
  const int lane = static_cast<int>(threadIdx.x) / work.channels.width;
  const int channel = (first_group + group) * kVector;
  const UnloadedNorm unloaded{norm, channel};
  float sums[3][3][kVector] = {};
  const unsigned end = (range + 1) * work.items_per_block < work.items
                           ? (range + 1) * work.items_per_block
                           : work.items;
  if (lane < work.lanes && group < width)
    for (unsigned i = range * work.items_per_block + static_cast<unsigned>(lane); i < end;
         i += static_cast<unsigned>(work.lanes)) {
      const Item item = item_of(work, i);
      const RowReader<T, 3> xs(x + item.image * work.h * work.w * work.c + channel, work.h, work.w,
                               work.c, item.p * Stride - work.before_h,
                               item.q * Stride - work.before_w);
      const RowReader<T, 1> dys(dy + item.image * work.p * work.q * work.c + channel, work.p,
                                work.q, work.c, item.p, item.q);
      if constexpr (Stride == 1)
        roll_stride_1<kNorm>(xs, unloaded, dys, item.rows, sums);
      else
        roll_stride_2<kNorm>(xs, unloaded, dys, item.rows, sums);
    }
  reduce_block(work, first_group * kVector, width, sums, reinterpret_cast<float*>(memory),
               partials + Index{range} * 9 * work.c);
}

WeightGradientWork divide(const DepthwiseProblem& p) {
  WeightGradientWork work{DepthwiseSizes::of(p)};
  work.lanes = kThreads / work.channels.width;
  work.rows = std::min(work.p, kLongestStrip);
  work.strips = static_cast<unsigned>(divide_up(p.p, work.rows));
  work.items = narrow_count("depthwise weight gradient", p.n, p.n * work.strips * p.q);
  const Index ranges = divide_up(kBlocks, work.channels.tiles);
  // The items of a block are whole rounds of its lanes.
  work.items_per_block = static_cast<unsigned>(round_up(divide_up(work.items, ranges), work.lanes));
  return work;
}

Index ranges(const WeightGradientWork& work) {
  return divide_up(work.items, work.items_per_block);
}

}  // namespace

Index depthwise_weight_scratch(const DepthwiseProblem& p) {
  return ranges(divide(p)) * 9 * p.c;
}

template <class T>
void depthwise_backward_weight(Stream stream, const DepthwiseProblem& p, const T* x, const T* dy,
                               float* scratch, float* dw, const NormOnLoad& norm) {
  require_vectors("depthwise weight gradient", p.c, {x, dy, norm.scale, norm.shift});
  const WeightGradientWork work = divide(p);
  constexpr void (*kKernels[2][2])(WeightGradientWork, const T*, NormOnLoad, const T*, float*) = {
      {depthwise_weight_kernel<T, 1, false>, depthwise_weight_kernel<T, 1, true>},
      {depthwise_weight_kernel<T, 2, false>, depthwise_weight_kernel<T, 2, true>}};
  const auto kernel = kKernels[p.stride - 1][norm.present()];
  launch(stream, "depthwise weight gradient", kernel, blocks(ranges(work) * work.channels.tiles),
         kThreads, kSums * kPitch * sizeof(float), work, x, norm, dy, scratch);
  ordered_sum(stream, ranges(work), 9 * p.c, ranges(work), scratch, dw);
}

#define DF_INSTANTIATE(T)                                                                      \
  template void depthwise_backward_weight(Stream, const DepthwiseProblem&, const T*, const T*, \
                                          float*, float*, const NormOnLoad&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
