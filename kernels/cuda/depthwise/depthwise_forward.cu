// Depthwise convolution on the GPU: each thread rolls down a strip of rows and loads each of its
// input rows once.
#include <algorithm>

#include "kernels/cuda/depthwise/depthwise.cuh"
#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 128;
// Floats need more registers.
template <class T>
constexpr int kBlocksPerSm = sizeof(T) == 4 ? 2 : 3;
// Output columns per thread.
constexpr int kColumns = 2;
constexpr int kLongestStrip = 14;
#if defined(__CUDACC__)
constexpr Index kThreadsToFill = 132 * 4 * kThreads;
#else
// The stand-in counts as a tiny GPU, so that tests of small images roll over several rows.
constexpr Index kThreadsToFill = 32;
#endif

struct ForwardWork : DepthwiseSizes {
  int rows = 0;  // outputs per strip
  unsigned column_tiles = 0, strips = 0, threads = 0;
  bool reversed = false;
};

// Where one thread works.
struct Place {
  int channel, q, p, rows;
  Index image;
};

__device__ __forceinline__ Place place_of(const ForwardWork& work, unsigned thread) {
  const auto width = static_cast<unsigned>(work.channels.width);
  const auto tiles = static_cast<unsigned>(work.channels.tiles);
  const unsigned lane = thread % width;
  unsigned rest = thread / width;
  const unsigned column_tile = rest % work.column_tiles;
  rest /= work.column_tiles;
  const unsigned channel_tile = rest % tiles;
  rest /= tiles;
  const int p = static_cast<int>(rest % work.strips) * work.rows;
  return {.channel = static_cast<int>(channel_tile * width + lane) * kVector,
          .q = static_cast<int>(column_tile) * kColumns,
          .p = p,
          .rows = work.p - p < work.rows ? work.p - p : work.rows,
          .image = Index{rest / work.strips}};
}

// sum[j] += the products of one row of the window with one row of the input.
template <class T, int Stride, int Inputs>
__device__ __forceinline__ void add_row(const Packed<T>* taps, const float (&x)[Inputs][kVector],
                                        float (&sum)[kColumns][kVector]) {
#pragma unroll
  for (int s = 0; s < 3; ++s) {
    float w[kVector];
    unpack(taps[s], w);
#pragma unroll
    for (int j = 0; j < kColumns; ++j)
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum[j][i] = fmaf(x[j * Stride + s][i], w[i], sum[j][i]);
  }
}

template <class T, int Inputs>
__device__ __forceinline__ void unpack_row(const Packed<T> (&packed)[Inputs],
                                           float (&x)[Inputs][kVector]) {
#pragma unroll
  for (int j = 0; j < Inputs; ++j) unpack(packed[j], x[j]);
}

__device__ __forceinline__ void clear(float (&sum)[kColumns][kVector]) {
#pragma unroll
  for (int j = 0; j < kColumns; ++j)
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum[j][i] = 0.0f;
}

__device__ __forceinline__ void move(const float (&from)[kColumns][kVector],
                                     float (&to)[kColumns][kVector]) {
#pragma unroll
  for (int j = 0; j < kColumns; ++j)
#pragma unroll
    for (int i = 0; i < kVector; ++i) to[j][i] = from[j][i];
}

// Applies the epilogue to one output row's columns and stores those inside the image.
template <class T>
__device__ __forceinline__ void finish_row(const ForwardWork& work,
                                           const Epilogue<T, float>& epilogue, Index at, int q,
                                           int channel, float (&sum)[kColumns][kVector], T* y) {
  float bias[kVector];
  load_bias(epilogue, channel, bias);
#pragma unroll
  for (int j = 0; j < kColumns; ++j)
    if (q + j < work.q) store_output(epilogue, bias, at + j * work.c, sum[j], y);
}

// Input row t feeds output t with the first row of the window, output t - 1 with its second and
// output t - 2 with its last, so that three sums are under way.
template <bool kNorm, class T>
__device__ void roll_stride_1(const ForwardWork& work, const Place& place, Packed<T> (&taps)[9],
                              const T* x, const NormOnLoad& norm,
                              const Epilogue<T, float>& epilogue, Index at, T* y) {
  constexpr int kInputs = kColumns + 2;
  RowReader<T, kInputs> reader(x, work.h, work.w, work.c, place.p - work.before_h,
                               place.q - work.before_w);
  Packed<T> next[kInputs];
  reader.read(true, next);
  float first[kColumns][kVector], second[kColumns][kVector], last[kColumns][kVector];
  clear(first);
  clear(second);
  const int steps = place.rows + 2;
#pragma unroll 1
  for (int t = 0; t < steps; ++t) {
#pragma unroll
    for (Packed<T>& tap : taps) stay_packed(tap);
    if constexpr (kNorm) reader.normalise_row(norm, place.channel, 0, next);
    float row[kInputs][kVector];
    unpack_row(next, row);
    reader.read(t + 1 < steps, next);
    move(second, last);
    move(first, second);
    clear(first);
    add_row<T, 1>(taps + 6, row, last);
    add_row<T, 1>(taps + 3, row, second);
    add_row<T, 1>(taps, row, first);
    if (t < 2) continue;
    finish_row(work, epilogue, at, place.q, place.channel, last, y);
    at += Index{work.q} * work.c;
  }
}

// Input row 2t + 1 feeds output t alone, and row 2t + 2 feeds outputs t and t + 1.
template <bool kNorm, class T>
__device__ void roll_stride_2(const ForwardWork& work, const Place& place, Packed<T> (&taps)[9],
                              const T* x, const NormOnLoad& norm,
                              const Epilogue<T, float>& epilogue, Index at, T* y) {
  constexpr int kInputs = 2 * kColumns + 1;
  RowReader<T, kInputs> reader(x, work.h, work.w, work.c, 2 * place.p - work.before_h,
                               2 * place.q - work.before_w);
  Packed<T> middle[kInputs], low[kInputs];
  float row[kInputs][kVector];
  float sum[kColumns][kVector], next[kColumns][kVector];
  reader.read(true, low);
  if constexpr (kNorm) reader.normalise_row(norm, place.channel, 0, low);
  unpack_row(low, row);
  clear(sum);
  add_row<T, 2>(taps, row, sum);
  for (int t = 0; t < place.rows; ++t) {
#pragma unroll
    for (Packed<T>& tap : taps) stay_packed(tap);
    reader.read(true, middle);
    reader.read(true, low);
    if constexpr (kNorm) reader.normalise_row(norm, place.channel, 1, middle);
    unpack_row(middle, row);
    add_row<T, 2>(taps + 3, row, sum);
    if constexpr (kNorm) reader.normalise_row(norm, place.channel, 0, low);
    unpack_row(low, row);
    add_row<T, 2>(taps + 6, row, sum);
    clear(next);
    add_row<T, 2>(taps, row, next);
    finish_row(work, epilogue, at, place.q, place.channel, sum, y);
    at += Index{work.q} * work.c;
    move(next, sum);
  }
}

// x [n, h, w, c], w [3, 3, c], y [n, p, q, c]. The residual may be y, so neither is __restrict__.
template <class T, int Stride, bool kNorm>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm<T>)
    depthwise_kernel(ForwardWork work, const T* __restrict__ x, const T* __restrict__ w,
                     NormOnLoad norm, Epilogue<T, float> epilogue, T* y) {
  const unsigned thread = blockIdx.x * kThreads + threadIdx.x;
  if (thread >= work.threads) return;
  const Place place = place_of(work, thread);
  if (place.channel >= work.c) return;
  Packed<T> taps[9];
#pragma unroll
  for (int i = 0; i < 9; ++i)
    taps[i] = load_packed(w + (work.reversed ? 8 - i : i) * work.c + place.channel);
  x += place.image * work.h * work.w * work.c + place.channel;
  const Index at = ((place.image * work.p + place.p) * work.q + place.q) * work.c + place.channel;
  if constexpr (Stride == 1)
    roll_stride_1<kNorm>(work, place, taps, x, norm, epilogue, at, y);
  else
    roll_stride_2<kNorm>(work, place, taps, x, norm, epilogue, at, y);
}

// Long strips load fewer rows twice; short ones give a small batch enough threads.
ForwardWork divide(const DepthwiseProblem& p, bool reversed) {
  ForwardWork work{DepthwiseSizes::of(p)};
  const Index column_tiles = divide_up(p.q, kColumns);
  const Index per_strip = p.n * column_tiles * work.channels.tiles * work.channels.width;
  Index rows = std::min<Index>(p.p, kLongestStrip);
  while (rows > 1 && per_strip * divide_up(p.p, rows) < kThreadsToFill) rows = divide_up(rows, 2);
  const Index strips = divide_up(p.p, rows);
  work.rows = static_cast<int>(rows);
  work.column_tiles = static_cast<unsigned>(column_tiles);
  work.strips = static_cast<unsigned>(strips);
  work.threads = narrow_count("depthwise convolution", p.n, per_strip * strips);
  work.reversed = reversed;
  return work;
}

}  // namespace

template <class T>
void convolve_depthwise(Stream stream, const DepthwiseProblem& p, const T* x, const T* w,
                        bool reversed, const Epilogue<T, float>& epilogue, T* y,
                        const NormOnLoad& norm) {
  require_vectors("depthwise convolution", p.c,
                  {x, w, y, epilogue.bias, epilogue.residual, norm.scale, norm.shift});
  const ForwardWork work = divide(p, reversed);
  constexpr void (*kKernels[2][2])(ForwardWork, const T*, const T*, NormOnLoad, Epilogue<T, float>,
                                   T*) = {
      {depthwise_kernel<T, 1, false>, depthwise_kernel<T, 1, true>},
      {depthwise_kernel<T, 2, false>, depthwise_kernel<T, 2, true>}};
  const auto kernel = kKernels[p.stride - 1][norm.present()];
  launch(stream, "depthwise convolution", kernel, blocks(divide_up(work.threads, kThreads)),
         kThreads, 0, work, x, w, norm, epilogue, y);
}

template <class T>
void depthwise_forward(Stream stream, const DepthwiseProblem& p, const T* x, const T* w,
                       const Epilogue<T, float>& epilogue, T* y, const NormOnLoad& norm) {
  convolve_depthwise(stream, p, x, w, false, epilogue, y, norm);
}

#define DF_INSTANTIATE(T)                                                                     \
  template void convolve_depthwise(Stream, const DepthwiseProblem&, const T*, const T*, bool, \
                                   const Epilogue<T, float>&, T*, const NormOnLoad&);         \
  template void depthwise_forward(Stream, const DepthwiseProblem&, const T*, const T*,        \
                                  const Epilogue<T, float>&, T*, const NormOnLoad&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
