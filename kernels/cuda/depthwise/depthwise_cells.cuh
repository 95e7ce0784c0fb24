// Cells of the depthwise convolution's input (depthwise_gradient.cu) and the rows of dy that they
// meet, as a thread loads them while it rolls down a strip.
#pragma once

#include "kernels/cuda/depthwise/depthwise_strips.cuh"

namespace dfengine::cuda::depthwise {

// rows and columns: of cells.
struct GradientWork : StripWork {
  int first_row = 0, first_column = 0;
};

// What depends on the stride.
template <int Stride>
struct Cells {
  static constexpr int kDepth = 4 - Stride;    // rows and columns of dy that a cell meets
  static constexpr int kColumns = 3 - Stride;  // of cells per thread: two of pixels
  static constexpr int kWindow = kColumns + kDepth - 1;
};
constexpr int kPixels = 2;

template <class T>
struct Tensors {
  const T *x, *y, *dy;
  T* dx;
};

// What one step loads: a row of dy, and the rows of a cell. inside: a bit for each pixel that its
// image has, those of dy before those of x.
template <int Stride>
struct Step {
  static constexpr int kWindow = Cells<Stride>::kWindow;
  std::uint32_t dy[kWindow], y[kWindow], x[Stride][kPixels];
  unsigned inside;
};

// One strip: its rows of cells from the top, after as many steps as the first cell needs rows of dy
// above.
template <class T, int Stride, bool kGradient>
class Strip {
  using C = Cells<Stride>;
  static constexpr int kWarmUp = C::kDepth - 1;

 public:
  __device__ __forceinline__ Strip(const GradientWork& work, const Tensors<T>& at, unsigned item,
                                   int channel)
      : work_(work), at_(at) {
    const int column = work.first_column + static_cast<int>(item % work.column_tiles) * C::kColumns;
    const unsigned strip = item / work.column_tiles, image = strip / work.strips;
    const int row = work.first_row + static_cast<int>(strip % work.strips) * work.rows;
    row_ = row - kWarmUp;
    left_ = work.rows + kWarmUp;
    const int q = column - kWarmUp, pixel = column * Stride - work.before_w;
    columns_ = inside(q, C::kWindow, work.q) | inside(pixel, kPixels, work.w) << C::kWindow;
    dy_ = value(image * number(work.p) + number(row_), work.q, q, channel);
    x_ = value(image * number(work.h) + number(row_ * Stride - work.before_h), work.w, pixel,
               channel);
  }

  // Whether next() has not passed the last row, and whether this row has cells.
  __device__ __forceinline__ bool more() const { return left_ > 0; }
  __device__ __forceinline__ bool has_cells() const { return left_ <= work_.rows; }
  // Where the pixels of the step before this one lie.
  __device__ __forceinline__ unsigned last_x() const {
    return x_ - number(Stride * work_.w * work_.c);
  }

  __device__ __forceinline__ void load(Step<Stride>& step) const {
    const unsigned of_row = more() ? columns_ : 0;
    const unsigned c = number(forget(work_.c));
    step.inside = 0;
    if (static_cast<unsigned>(row_) < static_cast<unsigned>(work_.p))
      step.inside = of_row & ((1u << C::kWindow) - 1);
#pragma unroll
    for (int j = 0; j < C::kWindow; ++j) {
      const unsigned pixel = dy_ + number(j) * c;
      const bool wanted = step.inside >> j & 1;
      step.dy[j] = wanted ? pair_at(at_.dy + pixel) : 0;
      if constexpr (kGradient) step.y[j] = wanted ? pair_at(at_.y + pixel) : 0;
    }
#pragma unroll
    for (int r = 0; r < Stride; ++r) {
      const int row = row_ * Stride - work_.before_h + r;
      const bool has_row =
          has_cells() && static_cast<unsigned>(row) < static_cast<unsigned>(work_.h);
      const unsigned of_x = has_row ? of_row >> C::kWindow : 0;
      step.inside |= of_x << (C::kWindow + r * kPixels);
#pragma unroll
      for (int j = 0; j < kPixels; ++j)
        step.x[r][j] = of_x >> j & 1 ? pair_at(at_.x + (x_ + number(r * work_.w + j) * c)) : 0;
    }
  }

  __device__ __forceinline__ void next() {
    ++row_;
    --left_;
    const unsigned c = number(forget(work_.c));
    dy_ += number(work_.q) * c;
    x_ += number(Stride * work_.w) * c;
  }

 private:
  static __device__ __forceinline__ unsigned number(int n) {
    return static_cast<unsigned>(n);
  }
  // Value `channel` of a pixel of a row, all images' rows counted.
  __device__ __forceinline__ unsigned value(unsigned row, int columns, int column,
                                            int channel) const {
    return (row * number(columns) + number(column)) * number(work_.c) + number(channel);
  }
  static __device__ __forceinline__ std::uint32_t pair_at(const T* at) {
    return *reinterpret_cast<const std::uint32_t*>(at);
  }
  // The bits of the columns from `first` on that lie in [0, width).
  static __device__ __forceinline__ unsigned inside(int first, int columns, int width) {
    unsigned bits = 0;
    for (int j = 0; j < columns; ++j)
      bits |= (static_cast<unsigned>(first + j) < static_cast<unsigned>(width) ? 1u : 0u) << j;
    return bits;
  }

  const GradientWork& work_;
  const Tensors<T>& at_;
  // Of this step's first pixel, in 32 bits, in which a tensor is counted here: an address is then
  // one instruction. What lies in front of a tensor is very large.
  unsigned dy_, x_;
  int row_, left_;
  unsigned columns_;
};

}  // namespace dfengine::cuda::depthwise
