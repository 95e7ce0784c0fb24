// Data gradient of the depthwise convolution on the GPU. At stride 1 it is a convolution with the
// taps in reverse order. At stride 2 the input falls into cells of 2 x 2: cell (k, j) holds rows
// 2k - before, 2k + 1 - before and columns alike, and its four pixels need 4, 2, 2 and 1 products
// with dy at rows k - 1, k and columns j - 1, j.
#include <algorithm>

#include "kernels/cuda/depthwise/depthwise.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 128;
template <class T>
constexpr int kBlocksPerSm = sizeof(T) == 4 ? 3 : 4;
// Cells per thread, along columns and down rows.
constexpr int kColumns = 2;
constexpr int kRows = 4;

struct DataGradientWork : DepthwiseSizes {
  unsigned column_tiles = 0, strips = 0, threads = 0;
  bool accumulate = false;
};

// dx += the products of dy[r][s] (rows k - 1, k; columns j - 1, j) that fall on pixel (Row, Column)
// of a cell: window rows 2 and 0 on the even one, 1 on the odd one.
template <int Row, int Column, class T>
__device__ __forceinline__ void add_products(const Packed<T> (&taps)[9],
                                             const float (&dy)[2][kColumns + 1][kVector], int j,
                                             float (&dx)[kVector]) {
#pragma unroll
  for (int r = Row; r < 2; ++r)
#pragma unroll
    for (int s = Column; s < 2; ++s) {
      const int window_row = Row == 1 ? 1 : 2 - 2 * r;
      const int window_column = Column == 1 ? 1 : 2 - 2 * s;
      float w[kVector];
      unpack(taps[window_row * 3 + window_column], w);
#pragma unroll
      for (int i = 0; i < kVector; ++i) dx[i] = fmaf(dy[r][j + s][i], w[i], dx[i]);
    }
}

template <int Row, int Column, class T>
__device__ __forceinline__ void write_pixel(const DataGradientWork& work,
                                            const Packed<T> (&taps)[9],
                                            const float (&dy)[2][kColumns + 1][kVector], int k,
                                            int first_cell, int j, T* dx) {
  const int row = 2 * k + Row - work.before_h;
  const int column = 2 * (first_cell + j) + Column - work.before_w;
  if (static_cast<unsigned>(row) >= static_cast<unsigned>(work.h) ||
      static_cast<unsigned>(column) >= static_cast<unsigned>(work.w))
    return;
  T* const at = dx + (Index{row} * work.w + column) * work.c;
  float sum[kVector] = {};
  if (work.accumulate) load8(at, sum);
  add_products<Row, Column>(taps, dy, j, sum);
  store8(at, sum);
}

template <class T>
__device__ __forceinline__ void write_cells(const DataGradientWork& work,
                                            const Packed<T> (&taps)[9],
                                            const Packed<T> (&above)[kColumns + 1],
                                            const Packed<T> (&below)[kColumns + 1], int k,
                                            int first_cell, T* dx) {
  float dy[2][kColumns + 1][kVector];
#pragma unroll
  for (int j = 0; j <= kColumns; ++j) {
    unpack(above[j], dy[0][j]);
    unpack(below[j], dy[1][j]);
  }
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    write_pixel<0, 0>(work, taps, dy, k, first_cell, j, dx);
    write_pixel<0, 1>(work, taps, dy, k, first_cell, j, dx);
    write_pixel<1, 0>(work, taps, dy, k, first_cell, j, dx);
    write_pixel<1, 1>(work, taps, dy, k, first_cell, j, dx);
  }
}

// dy [n, p, q, c], w [3, 3, c], dx [n, h, w, c].
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm<T>)
    depthwise_data_stride_2_kernel(DataGradientWork work, const T* __restrict__ dy,
                                   const T* __restrict__ w, T* __restrict__ dx) {
  await_previous_kernels();
  const unsigned thread = blockIdx.x * kThreads + threadIdx.x;
  if (thread >= work.threads) return;
  const auto width = static_cast<unsigned>(work.channels.width);
  const auto tiles = static_cast<unsigned>(work.channels.tiles);
  unsigned rest = thread / width;
  const int first_cell = static_cast<int>(rest % work.column_tiles) * kColumns;
  rest /= work.column_tiles;
  const int channel = static_cast<int>(rest % tiles * width + thread % width) * kVector;
  rest /= tiles;
  const int first_row = static_cast<int>(rest % work.strips) * kRows;
  const Index image{rest / work.strips};
  if (channel >= work.c) return;
  Packed<T> taps[9];
#pragma unroll
  for (int i = 0; i < 9; ++i) taps[i] = load_packed(w + i * work.c + channel);
  dy += image * work.p * work.q * work.c + channel;
  dx += image * work.h * work.w * work.c + channel;
  RowReader<T, kColumns + 1> reader(dy, work.p, work.q, work.c, first_row - 1, first_cell - 1);
  Packed<T> above[kColumns + 1], below[kColumns + 1];
  reader.read(true, above);
  for (int k = first_row; k < first_row + kRows; ++k) {
#pragma unroll
    for (Packed<T>& tap : taps) stay_packed(tap);
    reader.read(true, below);
    write_cells(work, taps, above, below, k, first_cell, dx);
#pragma unroll
    for (int j = 0; j <= kColumns; ++j) above[j] = below[j];
  }
}

// Cells that cover `size` pixels of which the first has `before` ones in front.
Index cells(Index size, Index before) {
  return (size - 1 + before) / 2 + 1;
}

DataGradientWork divide(const DepthwiseProblem& p, Write write) {
  DataGradientWork work{DepthwiseSizes::of(p)};
  const Index column_tiles = divide_up(cells(p.w, p.before_w), kColumns);
  const Index strips = divide_up(cells(p.h, p.before_h), kRows);
  const Index threads = p.n * strips * column_tiles * work.channels.tiles * work.channels.width;
  work.column_tiles = static_cast<unsigned>(column_tiles);
  work.strips = static_cast<unsigned>(strips);
  work.threads = narrow_count("depthwise data gradient", p.n, threads);
  work.accumulate = write == Write::Accumulate;
  return work;
}

// The problem whose forward pass is the data gradient at stride 1: pixels swap with outputs.
DepthwiseProblem transposed(const DepthwiseProblem& p) {
  DepthwiseProblem t = p;
  t.h = p.p, t.w = p.q, t.p = p.h, t.q = p.w;
  t.before_h = 2 - p.before_h, t.before_w = 2 - p.before_w;
  return t;
}

}  // namespace

template <class T>
void depthwise_backward_data(Stream stream, const DepthwiseProblem& p, const T* dy, const T* w,
                             Write write, T* dx) {
  if (p.stride == 1) {
    return convolve_depthwise(stream, transposed(p), dy, w, true,
                              {.residual = write == Write::Accumulate ? dx : nullptr}, dx, {});
  }
  require_vectors("depthwise data gradient", p.c, {dy, w, dx});
  const DataGradientWork work = divide(p, write);
  launch(stream, "depthwise data gradient", depthwise_data_stride_2_kernel<T>,
         blocks(divide_up(work.threads, kThreads)), kThreads, 0, work, dy, w, dx);
}

#define DF_INSTANTIATE(T)                                                                    \
  template void depthwise_backward_data(Stream, const DepthwiseProblem&, const T*, const T*, \
                                        Write, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
