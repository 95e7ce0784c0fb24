// Weight gradient of the depthwise convolution on the GPU. First each block sums a fixed range of
// strips of pixels: a thread keeps the 9 x 4 sums of its four channels in registers while it rolls
// down, then the threads of the same channels are added in order. Then ordered_sum adds the blocks.
#include <algorithm>
#include <numeric>

#include "kernels/cuda/depthwise/depthwise.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kChannels = 4;
// The groups of channels of MobileNetV2 (8, 24, 36, and 48 to a tile) leave no thread idle.
constexpr int kThreads = 256;
constexpr int kWidestTile = 64;
template <class T>
constexpr int kBlocksPerSm = sizeof(T) == 4 ? 1 : 2;
// This fills the largest GPU that we know. It is a constant because sums must not depend on the
// device.
#if defined(__CUDACC__)
constexpr Index kBlocks = 264, kThreadsToFill = kBlocks * kThreads;
#else
// The stand-in counts as a tiny GPU, so that in tests of small images a thread has several strips
// of several rows.
constexpr Index kBlocks = 2, kThreadsToFill = 32;
#endif
constexpr int kLongestStrip = 28;
// The floats from one sum to the next in shared memory. They are 8 more than the threads, so that
// four channels times eight threads are 32 different banks both in writing and in reading.
constexpr int kPitch = kThreads + 8;
constexpr int kSums = 3 * kChannels;  // per row of the window

struct WeightGradientWork : DepthwiseSizes {
  int lanes = 0;  // threads of a block that share a group of channels
  int rows = 0;   // output rows per strip
  unsigned column_tiles = 0, strips = 0;
  unsigned items = 0;  // strips of all images
  unsigned ranges = 0;
};

// What depends on the stride. More columns load and normalise fewer values of x twice, and more
// rows in flight wait less; both take registers.
template <int Stride>
struct Roll {
  static constexpr int kColumns = Stride == 1 ? 2 : 1;
  static constexpr int kAhead = 2;
  static constexpr int kInputs = (kColumns - 1) * Stride + 3;
  static constexpr int kRows = Stride;  // of x for one of dy
  // Rows of dy that meet the same row of x.
  static constexpr int kHeld = 4 - Stride;
  // After so many steps rows in flight and rows held lie where they did.
  static constexpr int kTurns = std::lcm(kHeld, kAhead);
  // Steps at the end of a strip that have no row of dy.
  static constexpr int kRunOut = kHeld - 1;
};

// What one step loads.
template <class T, int Stride>
struct Step {
  using R = Roll<Stride>;
  Packed<T, kChannels> x[R::kRows][R::kInputs], dy[R::kColumns];
  unsigned inside;  // a bit for each pixel of x that the image has; the others are zero
};

// Loads so many neighbouring pixels, or gives zeros where their bit is not set.
template <class T, int Columns>
__device__ __forceinline__ void load_pixels(const T* tensor, Index at, int c, unsigned inside,
                                            Packed<T, kChannels> (&to)[Columns]) {
#pragma unroll
  for (int j = 0; j < Columns; ++j) {
    to[j] = zeros<T, kChannels>();
    if (inside >> j & 1) to[j] = load_packed<kChannels>(tensor + (at + j * c));
  }
}

// The bits of those columns from `first` on that the image has.
template <int Columns>
__device__ __forceinline__ unsigned columns_inside(int first, int width) {
  unsigned bits = 0;
#pragma unroll
  for (int j = 0; j < Columns; ++j)
    bits |= static_cast<unsigned>(static_cast<unsigned>(first + j) < static_cast<unsigned>(width))
            << j;
  return bits;
}

// The strips of one lane, one after the other without a break: the last steps of a strip bring
// zeros for dy, which the first steps of the next meet.
template <class T, int Stride>
class Strips {
  using R = Roll<Stride>;
  static constexpr unsigned kOfX = (1u << R::kInputs) - 1;

 public:
  __device__ __forceinline__ Strips(const WeightGradientWork& work, const T* x, const T* dy,
                                    unsigned first, unsigned end, int channel)
      : work_(work), x_(x), dy_(dy), item_(first), end_(end), channel_(channel) {}

  __device__ __forceinline__ void load(Step<T, Stride>& step) {
    if (left_ == 0) start_strip();
    --left_;
#pragma unroll
    for (int r = 0; r < R::kRows; ++r) {
      // The second row of x meets no dy but that of its own step.
      const bool wanted = r == 0 || left_ >= R::kRunOut;
      const unsigned inside = wanted && row_ < static_cast<unsigned>(work_.h) ? columns_ & kOfX : 0;
      load_pixels(x_, at_x_, work_.c, inside, step.x[r]);
      step.inside = r == 0 ? inside : step.inside | inside << R::kInputs;
      ++row_;
      at_x_ += Index{work_.w} * work_.c;
    }
    const bool wanted = left_ >= R::kRunOut && p_ < work_.p;
    load_pixels(dy_, at_dy_, work_.c, wanted ? columns_ >> R::kInputs : 0u, step.dy);
    ++p_;
    at_dy_ += Index{work_.q} * work_.c;
  }

 private:
  __device__ __forceinline__ void start_strip() {
    const unsigned strip = item_ / work_.column_tiles;
    const int q = static_cast<int>(item_ % work_.column_tiles) * R::kColumns;
    const Index image = strip / work_.strips;
    p_ = static_cast<int>(strip % work_.strips) * work_.rows;
    const int row = p_ * Stride - work_.before_h, column = q * Stride - work_.before_w;
    row_ = static_cast<unsigned>(row);
    at_x_ = ((image * work_.h + row) * work_.w + column) * work_.c + channel_;
    at_dy_ = ((image * work_.p + p_) * work_.q + q) * work_.c + channel_;
    columns_ = columns_inside<R::kInputs>(column, work_.w) | columns_inside<R::kColumns>(q, work_.q)
                                                                 << R::kInputs;
    // What is loaded ahead after the last strip is not used.
    if (item_ >= end_) columns_ = 0;
    left_ = work_.rows + R::kRunOut;
    item_ += static_cast<unsigned>(work_.lanes);
  }

  const WeightGradientWork& work_;
  const T *x_, *dy_;
  Index at_x_ = 0, at_dy_ = 0;
  unsigned item_, end_, row_ = 0;  // a row above the image is a very large one
  unsigned columns_ = 0;           // which the images have: a bit for each of x, then of dy
  int channel_, left_ = 0, p_ = 0;
};

using Sums = float[3][3][kChannels];

// What no norm does to a value.
struct NoNorm {
  __device__ NoNorm(const NormOnLoad&, Index) {}
  template <class T>
  __device__ void apply(Packed<T, kChannels>&, bool) const {}
};

// The norm, which leaves what lies outside the image zero.
struct Norm : LoadedNorm<kChannels> {
  using LoadedNorm::LoadedNorm;
  template <class T>
  __device__ __forceinline__ void apply(Packed<T, kChannels>& v, bool inside) const {
    LoadedNorm::apply(v);
    if (!inside) v = zeros<T, kChannels>();
  }
};

// Sums over so many steps.
template <class Norm, int Stride, class T>
__device__ __forceinline__ void add_strips(Strips<T, Stride> strips, const Norm& norm,
                                           unsigned steps, Sums& sums) {
  using R = Roll<Stride>;
  Step<T, Stride> ahead[R::kAhead];
#pragma unroll
  for (auto& step : ahead) strips.load(step);
  Packed<T, kChannels> held[R::kHeld][R::kColumns] = {};
  for (unsigned first = 0; first < steps; first += R::kTurns) {
#pragma unroll
    for (int turn = 0; turn < R::kTurns; ++turn) {
      if (first + turn >= steps) return;
      Step<T, Stride>& step = ahead[turn % R::kAhead];
#pragma unroll
      for (int j = 0; j < R::kColumns; ++j) held[turn % R::kHeld][j] = step.dy[j];
      float x[R::kRows][R::kInputs][kChannels];
#pragma unroll
      for (int r = 0; r < R::kRows; ++r)
#pragma unroll
        for (int j = 0; j < R::kInputs; ++j) {
          norm.apply(step.x[r][j], step.inside >> (r * R::kInputs + j) & 1);
          unpack(step.x[r][j], x[r][j]);
        }
      strips.load(step);
#pragma unroll
      for (int r = 0; r < 3; ++r)
#pragma unroll
        for (int j = 0; j < R::kColumns; ++j) {
          Packed<T, kChannels>& packed = held[(turn + R::kHeld - r / Stride) % R::kHeld][j];
          stay_packed(packed);
          float dy[kChannels];
          unpack(packed, dy);
#pragma unroll
          for (int s = 0; s < 3; ++s)
#pragma unroll
            for (int i = 0; i < kChannels; ++i)
              sums[r][s][i] = fmaf(dy[i], x[r % R::kRows][j * Stride + s][i], sums[r][s][i]);
        }
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
    for (int out = thread; out < width * kSums; out += kThreads) {
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
__device__ __forceinline__ unsigned first_item(const WeightGradientWork& work, unsigned range) {
  return static_cast<unsigned>(Index{range} * work.items / work.ranges);
}

template <class T, int Stride, class Norm>
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
  const int channel = (first_group + group) * kChannels;
  const unsigned first = first_item(work, range) + static_cast<unsigned>(lane);
  const unsigned end = first_item(work, range + 1);
  Sums sums = {};
  if (lane < work.lanes && group < width && first < end) {
    const unsigned items = (end - 1 - first) / static_cast<unsigned>(work.lanes) + 1;
    add_strips<Norm, Stride, T>(
        Strips<T, Stride>(work, x, dy, first, end, channel), Norm(norm, channel),
        items * static_cast<unsigned>(work.rows + Roll<Stride>::kRunOut), sums);
  }
  reduce_block(work, first_group * kChannels, width, sums, reinterpret_cast<float*>(memory),
               partials + Index{range} * 9 * work.c);
}

// Long strips load fewer rows of x twice; short ones give a small batch enough threads.
WeightGradientWork divide(const DepthwiseProblem& p) {
  WeightGradientWork work{DepthwiseSizes::of(p, kChannels, kWidestTile)};
  work.lanes = kThreads / work.channels.width;
  const Index column_tiles = divide_up(p.q, p.stride == 1 ? Roll<1>::kColumns : Roll<2>::kColumns);
  const Index per_strip = p.n * column_tiles;
  Index strips = divide_up(p.p, kLongestStrip);
  while (strips < p.p && per_strip * strips * work.channels.groups < kThreadsToFill) strips *= 2;
  work.rows = static_cast<int>(divide_up(p.p, strips));
  strips = divide_up(p.p, work.rows);
  work.column_tiles = static_cast<unsigned>(column_tiles);
  work.strips = static_cast<unsigned>(strips);
  work.items = narrow_count("depthwise weight gradient", p.n, per_strip * strips);
  const Index most = std::max<Index>(kBlocks / work.channels.tiles, 1);
  work.ranges = static_cast<unsigned>(std::min(most, divide_up(work.items, work.lanes)));
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
  launch(stream, "depthwise weight gradient", kernel,
         blocks(Index{work.ranges} * work.channels.tiles), kThreads, kSums * kPitch * sizeof(float),
         work, x, norm, dy, scratch);
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
