// Weight gradient of the depthwise convolution on the GPU. First each block sums a fixed range of
// strips of pixels: a thread keeps the 9 x 4 sums of its four channels in registers while it rolls
// down, then the threads of the same channels are added in order. Then ordered_sum adds the blocks.
#include <bit>
#include <cstdint>

#include "kernels/cuda/depthwise/depthwise_strips.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ordered_sum.h"

namespace dfengine::cuda {
namespace {

constexpr int kChannels = 4;
template <class T>
constexpr int kBlocksPerSm = sizeof(T) == 4 ? 1 : 2;
// The floats from one sum to the next in shared memory. They are 8 more than the threads, so that
// four channels times eight threads are 32 different banks both in writing and in reading.
constexpr int kPitch = kStripThreads + 8;
constexpr int kSums = 3 * kChannels;  // per row of the window

// Divides numbers below 2^31 by a product, whose parts take no registers in a loop.
struct Divisor {
  unsigned divisor, factor, shift;
  static Divisor of(unsigned divisor) {
    const auto shift = 31 + static_cast<unsigned>(std::bit_width(divisor - 1));
    const auto factor = ((std::uint64_t{1} << shift) + divisor - 1) / divisor;
    return {.divisor = divisor, .factor = static_cast<unsigned>(factor), .shift = shift};
  }
  // Returns the remainder and leaves the quotient.
  __device__ __forceinline__ unsigned divide(unsigned& number) const {
    const auto quotient = static_cast<unsigned>(std::uint64_t{number} * factor >> shift);
    const unsigned remainder = number - quotient * divisor;
    number = quotient;
    return remainder;
  }
};

struct WeightGradientWork : StripWork {
  Divisor by_column_tiles = {}, by_strips = {};
};

// What depends on the stride. More columns load and normalise fewer values of x twice, and more
// rows in flight wait less; both take registers.
template <int Stride>
struct Roll {
  static constexpr int kColumns = Stride == 1 ? 2 : 1;
  static constexpr int kAhead = 2;
  static constexpr int kInputs = (kColumns - 1) * Stride + 3;
  // Rows of dy that meet the same row of x.
  static constexpr int kHeld = 4 - Stride;
  // Steps at the end of a strip that have no row of dy.
  static constexpr int kRunOut = kHeld - 1;
};

// What one step loads.
template <class T, int Stride>
struct Step {
  using R = Roll<Stride>;
  Packed<T, kChannels> x[Stride][R::kInputs], dy[R::kColumns];
  unsigned inside;  // a bit for each pixel of x that the image has; the others are zero
};

// Loads so many neighbouring pixels, or gives zeros where their bit is not set.
template <class T, int Columns>
__device__ __forceinline__ void load_pixels(const T* first, int c, unsigned inside,
                                            Packed<T, kChannels> (&to)[Columns]) {
#pragma unroll
  for (int j = 0; j < Columns; ++j) {
    to[j] = zeros<T, kChannels>();
    if (inside >> j & 1) to[j] = load_packed<kChannels>(first);
    first += c;
  }
}

// The bits of those columns from `first` on, at most one before the image, that the image has.
__device__ __forceinline__ unsigned columns_inside(int first, int columns, int width) {
  const int end = width - first < columns ? width - first : columns;
  return (1u << end) - (first < 0 ? 2u : 1u);
}

// The strips of one lane, one after the other without a break: the last steps of a strip bring
// zeros for dy, which the first steps of the next meet.
template <class T, int Stride>
class Strips {
  using R = Roll<Stride>;
  static constexpr unsigned kOfX = (1u << R::kInputs) - 1;

 public:
  // Of the items from `first` to `end` every so many lanes' one, for the channels from `channel`
  // on.
  __device__ __forceinline__ Strips(const WeightGradientWork& work, const T* x, const T* dy,
                                    unsigned first, unsigned end, int channel)
      : work_(work), x_(x), dy_(dy), item_(first), channel_(channel) {
    const auto lanes = static_cast<unsigned>(work.lanes);
    steps_ = static_cast<int>((end - first + lanes - 1) / lanes) * (work.rows + R::kRunOut);
    start_strip();
  }

  // The steps that next() has not passed, negative behind the last.
  __device__ __forceinline__ int steps() const { return steps_; }

  // Loads this step, or zeros behind the last.
  __device__ __forceinline__ void load(Step<T, Stride>& step) const {
    const unsigned columns = steps_ > 0 ? columns_ : 0;
    const bool has_dy = left_ > R::kRunOut;
    const int c = forget(work_.c);
    unsigned all_inside = 0;
#pragma unroll
    for (int r = 0; r < Stride; ++r) {
      // The second row of x meets no dy but that of its own step.
      const auto row = static_cast<unsigned>(p_ * Stride - work_.before_h + r);
      const bool wanted = (r == 0 || has_dy) && row < static_cast<unsigned>(work_.h);
      const unsigned inside = wanted ? columns & kOfX : 0;
      load_pixels(row_of_x_ + Index{r * work_.w} * c, c, inside, step.x[r]);
      all_inside |= inside << r * R::kInputs;
    }
    step.inside = forget(all_inside);
    load_pixels(row_of_dy_, c, has_dy && p_ < work_.p ? columns >> R::kInputs : 0, step.dy);
  }

  __device__ __forceinline__ void next() {
    --steps_;
    ++p_;
    const int c = forget(work_.c);
    row_of_x_ += Index{Stride * work_.w} * c;
    row_of_dy_ += Index{work_.q} * c;
    if (--left_ == 0) {
      item_ += static_cast<unsigned>(work_.lanes);
      start_strip();
    }
  }

 private:
  __device__ __forceinline__ void start_strip() {
    unsigned rest = item_;
    const int q = static_cast<int>(work_.by_column_tiles.divide(rest)) * R::kColumns;
    p_ = static_cast<int>(work_.by_strips.divide(rest)) * work_.rows;
    const Index image = rest;
    const int channel = forget(channel_);
    left_ = work_.rows + R::kRunOut;
    const int row = p_ * Stride - work_.before_h, column = q * Stride - work_.before_w;
    columns_ = columns_inside(column, R::kInputs, work_.w) | columns_inside(q, R::kColumns, work_.q)
                                                                 << R::kInputs;
    row_of_x_ = x_ + (((image * work_.h + row) * work_.w + column) * work_.c + channel);
    row_of_dy_ = dy_ + (((image * work_.p + p_) * work_.q + q) * work_.c + channel);
  }

  const WeightGradientWork& work_;
  const T *x_, *dy_;
  const T *row_of_x_, *row_of_dy_;  // at this step
  unsigned item_;
  unsigned columns_;  // a bit for each column that the image has, those of x before those of dy
  int channel_, steps_;
  int p_, left_;  // of the strip: the output row of this step, and how many steps are left
};

using Sums = float[3][3][kChannels];

// No norm: values are unpacked here and not before the loads ahead, as with one.
struct NoNorm {
  __device__ NoNorm(const NormOnLoad&, Index) {}
  template <class T, int Stride>
  __device__ __forceinline__ void apply(Step<T, Stride>& step) const {
#pragma unroll
    for (auto& row : step.x)
#pragma unroll
      for (auto& pixel : row) stay_packed(pixel);
  }
};

// The norm of the channels, which leaves what lies outside the images zero.
class Norm {
 public:
  __device__ __forceinline__ Norm(const NormOnLoad& norm, Index channel) : norm_(norm) {
    unpack(load_packed<kChannels>(norm.scale + channel), scale_);
    unpack(load_packed<kChannels>(norm.shift + channel), shift_);
  }

  template <class T, int Stride>
  __device__ __forceinline__ void apply(Step<T, Stride>& step) const {
    const auto activation = static_cast<Activation>(forget(static_cast<int>(norm_.activation)));
    constexpr int kInputs = Roll<Stride>::kInputs;
#pragma unroll
    for (int i = 0; i < Stride * kInputs; ++i) {
      Packed<T, kChannels> x = step.x[i / kInputs][i % kInputs];
      normalise(scale_, shift_, activation, x);
      step.x[i / kInputs][i % kInputs] = step.inside >> i & 1 ? x : zeros<T, kChannels>();
    }
  }

 private:
  const NormOnLoad& norm_;
  float scale_[kChannels], shift_[kChannels];
};

// Takes a row of dy in place of the oldest.
template <class T, int Held, int Columns>
__device__ __forceinline__ void hold(const Packed<T, kChannels> (&row)[Columns],
                                     Packed<T, kChannels> (&held)[Held][Columns]) {
#pragma unroll
  for (int j = 0; j < Columns; ++j) {
#pragma unroll
    for (int r = Held - 1; r > 0; --r) held[r][j] = held[r - 1][j];
    held[0][j] = row[j];
  }
}

// sums += dy times one row of x.
template <int Stride, class T, int Columns, int Inputs>
__device__ __forceinline__ void add_row(Packed<T, kChannels> (&dy)[Columns],
                                        const float (&x)[Inputs][kChannels],
                                        float (&sums)[3][kChannels]) {
#pragma unroll
  for (int j = 0; j < Columns; ++j) {
    stay_packed(dy[j]);
    float unpacked[kChannels];
    unpack(dy[j], unpacked);
#pragma unroll
    for (int s = 0; s < 3; ++s)
#pragma unroll
      for (int i = 0; i < kChannels; ++i)
        sums[s][i] = fmaf(unpacked[i], x[j * Stride + s][i], sums[s][i]);
  }
}

// sums += the products of all rows of the strips.
template <class Norm, int Stride, class T>
__device__ __forceinline__ void add_strips(Strips<T, Stride> strips, const Norm& norm, Sums& sums) {
  using R = Roll<Stride>;
  Step<T, Stride> ahead[R::kAhead];
#pragma unroll
  for (auto& step : ahead) {
    strips.load(step);
    strips.next();
  }
  Packed<T, kChannels> dy[R::kHeld][R::kColumns] = {};
  while (strips.steps() > -R::kAhead) {
#pragma unroll
    for (int turn = 0; turn < R::kAhead; ++turn) {
      if (strips.steps() <= -R::kAhead) return;
      Step<T, Stride> step = ahead[turn];
      strips.load(ahead[turn]);
      hold(step.dy, dy);
      norm.apply(step);
      float x[Stride][R::kInputs][kChannels];
#pragma unroll
      for (int r = 0; r < Stride; ++r)
#pragma unroll
        for (int j = 0; j < R::kInputs; ++j) unpack(step.x[r][j], x[r][j]);
#pragma unroll
      for (int r = 0; r < 3; ++r) add_row<Stride>(dy[r / Stride], x[r % Stride], sums[r]);
      strips.next();
    }
  }
}

// Adds the sums of each channel over the lanes of the block and writes them to partials [3, 3, c].
// buffer [kSums, kPitch] holds one row of the window at a time.
__device__ __forceinline__ void reduce_block(const WeightGradientWork& work, int first_channel,
                                             int width, const Sums& sums, float* buffer,
                                             float* partials) {
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int r = 0; r < 3; ++r) {
#pragma unroll
    for (int i = 0; i < kSums; ++i)
      buffer[i * kPitch + thread] = sums[r][i / kChannels][i % kChannels];
    __syncthreads();
    for (int out = thread; out < width * kSums; out += kStripThreads) {
      const int i = out % kChannels, group = out / kChannels % width, s = out / kChannels / width;
      const float* from = buffer + (s * kChannels + i) * kPitch + group;
      float sum = 0.0f;
      for (int lane = 0; lane < work.lanes; ++lane) sum += from[lane * work.channels.width];
      partials[(r * 3 + s) * work.c + first_channel + group * kChannels + i] = sum;
    }
    __syncthreads();
  }
}

// x [n, h, w, c], dy [n, p, q, c], partials [ranges, 3, 3, c].
template <class T, int Stride, class Norm>
__global__ void __launch_bounds__(kStripThreads, kBlocksPerSm<T>)
    depthwise_weight_kernel(WeightGradientWork work, const T* __restrict__ x, NormOnLoad norm,
                            const T* __restrict__ dy, float* __restrict__ partials) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(memory);
  const unsigned range = blockIdx.y;
  const StripThread thread(work);
  const int channel = (thread.first_group + thread.group) * kChannels;
  const unsigned first = work.first_item(range) + static_cast<unsigned>(thread.lane);
  const unsigned end = work.first_item(range + 1);
  Sums sums = {};
  if (thread.works && first < end)
    add_strips(Strips<T, Stride>(work, x, dy, first, end, channel), Norm(norm, channel), sums);
  reduce_block(work, thread.first_group * kChannels, thread.width, sums,
               reinterpret_cast<float*>(memory), partials + Index{range} * 9 * work.c);
}

WeightGradientWork divide(const DepthwiseProblem& p) {
  const Index column_tiles = divide_up(p.q, p.stride == 1 ? Roll<1>::kColumns : Roll<2>::kColumns);
  WeightGradientWork work{
      StripWork::of("depthwise weight gradient", p, kChannels, p.p, column_tiles)};
  work.by_column_tiles = Divisor::of(work.column_tiles);
  work.by_strips = Divisor::of(work.strips);
  return work;
}

}  // namespace

Index depthwise_weight_scratch(const DepthwiseProblem& p) {
  return divide(p).ranges * Index{9} * p.c;
}

template <class T>
void depthwise_backward_weight(Stream stream, const DepthwiseProblem& p, const T* x, const T* dy,
                               float* scratch, float* dw, const NormOnLoad& norm) {
  require_vectors("depthwise weight gradient", p.c, {x, dy, norm.scale, norm.shift});
  const WeightGradientWork work = divide(p);
  constexpr void (*kKernels[2][2])(WeightGradientWork, const T*, NormOnLoad, const T*, float*) = {
      {depthwise_weight_kernel<T, 1, NoNorm>, depthwise_weight_kernel<T, 1, Norm>},
      {depthwise_weight_kernel<T, 2, NoNorm>, depthwise_weight_kernel<T, 2, Norm>}};
  const auto kernel = kKernels[p.stride - 1][norm.present()];
  launch(stream, "depthwise weight gradient", kernel, work.grid(), kStripThreads,
         kSums * kPitch * sizeof(float), work, x, norm, dy, scratch);
  ordered_sum(stream, work.ranges, 9 * p.c, work.ranges, scratch, dw);
}

#define DF_INSTANTIATE(T)                                                                      \
  template void depthwise_backward_weight(Stream, const DepthwiseProblem&, const T*, const T*, \
                                          float*, float*, const NormOnLoad&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
