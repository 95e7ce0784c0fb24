// Depthwise convolution on the GPU: each thread rolls down one strip of rows.
#include "kernels/cuda/depthwise/depthwise_rolling.cuh"
#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

using namespace depthwise;

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
  return {.channel = static_cast<int>(channel_tile * width + lane) * kChannels,
          .q = static_cast<int>(column_tile) * kColumns,
          .p = p,
          .rows = work.p - p < work.rows ? work.p - p : work.rows,
          .image = Index{rest / work.strips}};
}

// Where a thread stores its outputs, row after row.
template <class T>
class Outputs {
 public:
  __device__ __forceinline__ Outputs(const ForwardWork& work, const Place& place,
                                     const Epilogue<T, float>& epilogue, T* y)
      : epilogue_(epilogue),
        y_(y),
        at_(((place.image * work.p + place.p) * work.q + place.q) * work.c + place.channel),
        pitch_(Index{work.q} * work.c),
        c_(work.c),
        columns_(work.q - place.q) {
    load_bias(epilogue, place.channel, bias_);
  }

  // Applies the epilogue to the sums of the next row and stores those inside the image.
  __device__ __forceinline__ void finish_row(Sums& sums) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j)
      if (j < columns_) store_output(epilogue_, bias_, at_ + j * c_, sums[j], y_);
    at_ += pitch_;
  }

 private:
  const Epilogue<T, float>& epilogue_;
  T* y_;
  Index at_, pitch_;
  int c_, columns_;
  float bias_[kChannels];
};

// x [n, h, w, c], w [3, 3, c], y [n, p, q, c]. The residual may be y, so neither is __restrict__.
template <class T, int Stride, class Norm>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm<T>)
    depthwise_kernel(ForwardWork work, const T* __restrict__ x, const T* __restrict__ w,
                     NormOnLoad norm, Epilogue<T, float> epilogue, T* y) {
  await_previous_kernels();
  const unsigned thread = blockIdx.x * kThreads + threadIdx.x;
  if (thread >= work.threads) return;
  const Place place = place_of(work, thread);
  if (place.channel >= work.c) return;
  Taps taps;
  load_taps(work, w, place.channel, taps);
  x += place.image * work.h * work.w * work.c + place.channel;
  Outputs<T> outputs(work, place, epilogue, y);
  roll<Stride, Norm>(work, place, taps, x, norm, outputs);
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
      {depthwise_kernel<T, 1, NoNorm>, depthwise_kernel<T, 1, LoadedNorm<kChannels>>},
      {depthwise_kernel<T, 2, NoNorm>, depthwise_kernel<T, 2, LoadedNorm<kChannels>>}};
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
