// What the depthwise kernels share: reading rows of an image, and how threads divide channels.
#pragma once

#include "kernels/cuda/norm_on_load.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/cuda/requirements.cuh"
#include "kernels/cuda/stream.h"
#include "kernels/depthwise_conv.h"

namespace dfengine::cuda {

// Reads some neighbouring columns, so many channels each, row after row. Outside the image it gives
// zeros.
template <class T, int Columns, int Channels = kVector>
class RowReader {
 public:
  // x is one image [h, w, c] at the first of the channels.
  __device__ RowReader(const T* x, int h, int w, int c, int first_row, int first_column)
      : x_(x),
        pitch_(static_cast<unsigned>(w) * static_cast<unsigned>(c)),
        offset_(static_cast<unsigned>(first_row) * pitch_ +
                static_cast<unsigned>(first_column) * static_cast<unsigned>(c)),
        h_(static_cast<unsigned>(h)),
        c_(static_cast<unsigned>(c)),
        row_(static_cast<unsigned>(first_row)) {
#pragma unroll
    for (int j = 0; j < Columns; ++j)
      inside_[j] = static_cast<unsigned>(first_column + j) < static_cast<unsigned>(w);
  }

  // Reads the next row, or gives zeros unless it is wanted.
  __device__ __forceinline__ void read(bool wanted, Packed<T, Channels> (&v)[Columns]) {
    const bool row_inside = wanted && row_ < h_;
#pragma unroll
    for (int j = 0; j < Columns; ++j) {
      v[j] = zeros<T, Channels>();
      if (row_inside && inside_[j]) v[j] = load_packed<Channels>(x_ + (offset_ + j * c_));
    }
    ++row_;
    offset_ += pitch_;
  }

  // Applies the norm of the channels to a row after which `later` others were read. What lies
  // outside the image stays zero: without a branch, which would cost more than the norm.
  template <class Norm>
  __device__ __forceinline__ void normalise_row(const Norm& norm, unsigned later,
                                                Packed<T, Channels> (&v)[Columns]) const {
    const bool row_inside = row_ - 1 - later < h_;
#pragma unroll
    for (int j = 0; j < Columns; ++j) {
      norm.apply(v[j]);
      if (!(row_inside && inside_[j])) v[j] = zeros<T, Channels>();
    }
  }

 private:
  const T* x_;
  // In 32 bits, in which an image is counted: an address is then one instruction. What lies above
  // or left of the image is very large.
  unsigned pitch_, offset_, h_, c_, row_;
  bool inside_[Columns];
};

// Hides from the compiler what the number is, so that what is made of it takes no registers
// throughout a loop.
template <class Number>
__device__ __forceinline__ Number forget(Number number) {
#if defined(__CUDACC__)
  asm volatile("" : "+r"(number));
#endif
  return number;
}

// The channels, in groups that one thread handles, divided into tiles of about one warp so that
// lanes lie side by side in memory and a block holds neighbouring columns, whose loads overlap.
struct ChannelTiles {
  int groups, tiles, width;  // width: groups of a tile; the last tile may have fewer
  static ChannelTiles of(Index c, int per_thread, int widest) {
    const Index groups = c / per_thread, tiles = divide_up(groups, widest);
    return {.groups = static_cast<int>(groups),
            .tiles = static_cast<int>(tiles),
            .width = static_cast<int>(divide_up(groups, tiles))};
  }
};

// The sizes of a problem as kernels take them. Each kernel adds how it divides the work.
struct DepthwiseSizes {
  int h, w, c, p, q, before_h, before_w;
  ChannelTiles channels;
  static DepthwiseSizes of(const DepthwiseProblem& problem, int channels_per_thread = kVector,
                           int widest_tile = kWarpSize) {
    require_few_values("depthwise convolution", "an image",
                       std::max(problem.h * problem.w, problem.p * problem.q) * problem.c);
    return {.h = static_cast<int>(problem.h),
            .w = static_cast<int>(problem.w),
            .c = static_cast<int>(problem.c),
            .p = static_cast<int>(problem.p),
            .q = static_cast<int>(problem.q),
            .before_h = static_cast<int>(problem.before_h),
            .before_w = static_cast<int>(problem.before_w),
            .channels = ChannelTiles::of(problem.c, channels_per_thread, widest_tile)};
  }
};

// The convolution with w, or with its taps in reverse order, from [n, h, w, c] to [n, p, q, c]:
// the forward pass, and at stride 1 the data gradient too.
template <class T>
void convolve_depthwise(Stream stream, const DepthwiseProblem& p, const T* x, const T* w,
                        bool reversed, const Epilogue<T, float>& epilogue, T* y,
                        const NormOnLoad& norm);

}  // namespace dfengine::cuda
