// Depthwise convolution that leaves the moments of y to the batch norm behind it. Blocks stay: each
// has channels of its own, and its threads roll down one strip after the other, so that there are
// few parts.
#include "kernels/cuda/depthwise/depthwise_moments.h"

#include "kernels/cuda/depthwise/depthwise_rolling.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/thread_moments.cuh"

namespace dfengine::cuda {
namespace {

using namespace depthwise;

// One less than without moments, whose registers would otherwise not suffice.
constexpr int kMomentsBlocksPerSm = 3;
using Kept = ThreadMoments<kThreads, kChannels>;

// Stores one thread's outputs, row after row, and adds up what was stored.
template <class T>
class Outputs {
 public:
  __device__ __forceinline__ Outputs(const ForwardWork& work, const Place& place, T* y, Kept& kept,
                                     bool first)
      : y_(y + ((place.image * work.p + place.p) * work.q + place.q) * work.c + place.channel),
        kept_(kept),
        pitch_(Index{work.q} * work.c),
        c_(work.c),
        columns_(work.q - place.q),
        first_(first) {}

  __device__ __forceinline__ void finish_row(Sums& sums) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const Packed<T, kChannels> stored = pack<T>(sums[j]);
      if (j < columns_) store_packed(y_ + j * c_, stored);
      unpack(stored, sums[j]);
    }
    y_ += pitch_;
    if (first_) kept_.start(sums[0]);
    first_ = false;
    kept_.add(sums, columns_);
  }
  __device__ __forceinline__ int columns() const {
    return columns_ < kColumns ? columns_ : kColumns;
  }

 private:
  T* y_;
  Kept& kept_;
  Index pitch_;
  int c_, columns_;
  bool first_;
};

// unit: which strip of which image, and which columns of it.
__device__ __forceinline__ Place place_of(const ForwardWork& work, int channel, unsigned unit) {
  const unsigned column_tile = unit % work.column_tiles, strip = unit / work.column_tiles;
  const int p = static_cast<int>(strip % work.strips) * work.rows;
  return {.channel = channel,
          .q = static_cast<int>(column_tile) * kColumns,
          .p = p,
          .rows = work.p - p < work.rows ? work.p - p : work.rows,
          .image = Index{strip / work.strips}};
}

// The grid has a block for each tile of channels in each part.
template <class T, int Stride, class Norm>
__global__ void __launch_bounds__(kThreads, kMomentsBlocksPerSm)
    depthwise_moments_kernel(ForwardWork work, unsigned units, const T* __restrict__ x,
                             const T* __restrict__ w, NormOnLoad norm, T* __restrict__ y,
                             float* __restrict__ parts) {
  await_previous_kernels();
  __shared__ Kept kept;
  kept.clear();
  const auto width = static_cast<unsigned>(work.channels.width), lists = kThreads / width;
  const auto tiles = static_cast<unsigned>(work.channels.tiles);
  const unsigned list = threadIdx.x / width, part = blockIdx.x / tiles;
  const auto first_channel = static_cast<int>(blockIdx.x % tiles * width) * kChannels;
  const int channel = first_channel + static_cast<int>(threadIdx.x % width) * kChannels;
  if (list < lists && channel < work.c) {
    Taps taps;
    load_taps(work, w, channel, taps);
    const unsigned first = part * lists + list, step = gridDim.x / tiles * lists;
    for (unsigned unit = first; unit < units; unit += step) {
      const Place place = place_of(work, channel, unit);
      Outputs<T> outputs(work, place, y, kept, unit == first);
      roll<Stride, Norm>(work, place, taps, x + place.image * work.h * work.w * work.c + channel,
                         norm, outputs);
      kept.settle(place.rows * outputs.columns());
    }
  }
  kept.write_part(static_cast<int>(width), static_cast<int>(lists), first_channel, work.c,
                  parts + Index{part} * ChannelMoments::pitch(work.c));
}

}  // namespace

Index depthwise_moment_parts(const DepthwiseProblem& p) {
  // As many blocks as all multiprocessors of an H100 hold at once: one more would run behind all
  // others.
  constexpr Index kBlocks = 132 * kMomentsBlocksPerSm;
  const ForwardWork work = divide(p, false);
  const Index lists = kThreads / work.channels.width;
  return std::min(std::max<Index>(kBlocks / work.channels.tiles, 1),
                  divide_up(work.units(p), lists));
}

template <class T>
void depthwise_forward_moments(Stream stream, const DepthwiseProblem& p, const T* x, const T* w,
                               const NormOnLoad& norm, T* y, const ChannelMoments& moments) {
  require_vectors("depthwise convolution", p.c, {x, w, y, norm.scale, norm.shift, moments.values});
  const ForwardWork work = divide(p, false);
  constexpr void (*kKernels[2][2])(ForwardWork, unsigned, const T*, const T*, NormOnLoad, T*,
                                   float*) = {
      {depthwise_moments_kernel<T, 1, NoNorm>,
       depthwise_moments_kernel<T, 1, LoadedNorm<kChannels>>},
      {depthwise_moments_kernel<T, 2, NoNorm>,
       depthwise_moments_kernel<T, 2, LoadedNorm<kChannels>>}};
  launch(stream, "depthwise convolution with moments", kKernels[p.stride - 1][norm.present()],
         blocks(moments.parts * work.channels.tiles), kThreads, 0, work,
         static_cast<unsigned>(work.units(p)), x, w, norm, y, moments.values);
}

#define DF_INSTANTIATE(T)                                                                      \
  template void depthwise_forward_moments(Stream, const DepthwiseProblem&, const T*, const T*, \
                                          const NormOnLoad&, T*, const ChannelMoments&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
