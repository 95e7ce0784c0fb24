// Stem convolution on the GPU: a block computes 16 x 16 outputs of up to 32 channels. 16-bit types
// go through tensor cores.
#include <algorithm>

#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/stem/stem_product.cuh"
#include "kernels/cuda/stem/stem_tensor.cuh"

namespace dfengine::cuda {
namespace {

using namespace stem;

constexpr int kBlocksPerSm = 5;

// x [n, h, w, 3], w [3, 3, 3, k], y [n, p, q, k]. The residual may be y: no __restrict__ there.
template <int Stride>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    stem_float_kernel(StemWork work, const float* __restrict__ x, const float* __restrict__ w,
                      Epilogue<float, float> epilogue, float* y) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(memory);
  auto* const input = reinterpret_cast<float*>(memory);
  float* const weights = input + TileInput<Stride>::kCount;
  const Tile tile = tile_of(work, blockIdx.x / work.channel_tiles);
  const int first_channel = static_cast<int>(blockIdx.x % work.channel_tiles) * kTileChannels;
  const int groups = groups_in(work, first_channel);
  load_weights(work, first_channel, groups, w, weights);
  load_input<Stride, kThreads>(work, tile, Values<float>{x}, input);
  __syncthreads();
  for (int item = static_cast<int>(threadIdx.x); item < kQuads * groups; item += kThreads) {
    const int group = item % groups, quad = item / groups;
    const int row = quad / (kTile / kColumns), column = quad % (kTile / kColumns) * kColumns;
    const int p = tile.p + row, q = tile.q + column;
    if (p >= work.p || q >= work.q) continue;
    float sum[kColumns][kVector] = {};
    convolve<Stride>(input, weights + group * kVector, row, column, sum);
    const int channel = first_channel + group * kVector;
    float bias[kVector];
    load_bias(epilogue, channel, bias);
    const Index at = ((tile.image * work.p + p) * work.q + q) * work.k + channel;
#pragma unroll
    for (int j = 0; j < kColumns; ++j)
      if (q + j < work.q) store_output(epilogue, bias, at + j * work.k, sum[j], y);
  }
}

// The same on tensor cores. Blocks stay, a multiple of the channel tiles, and each takes tiles in
// turn.
template <int Stride, class T, class Source>
__global__ void __launch_bounds__(kTensorThreads, kBlocksPerSm)
    stem_kernel(StemWork work, Source source, const T* __restrict__ w, Epilogue<T, float> epilogue,
                T* y) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(memory);
  T* const input = reinterpret_cast<T*>(memory);
  const TensorLane<Stride, T> lane(
      work, static_cast<int>(blockIdx.x % work.channel_tiles) * kTileChannels, w);
  float bias[kVector] = {};
  if (lane.channel < work.k) load_bias(epilogue, lane.channel, bias);
  for (unsigned at = blockIdx.x / work.channel_tiles; at < work.tiles;
       at += gridDim.x / work.channel_tiles) {
    const Tile tile = tile_of(work, at);
    load_input<Stride, kTensorThreads>(work, tile, source, input);
    __syncthreads();
    lane.for_each_output(work, tile, input, [&](Index place, float(&out)[kVector]) {
      store_output(epilogue, bias, place, out, y);
    });
    __syncthreads();
  }
}

}  // namespace

template <class T>
void stem_forward(Stream stream, const StemProblem& p, const StemInput<T>& x, const T* w,
                  const Epilogue<T, float>& epilogue, T* y) {
  require_vectors("stem convolution", p.k, {w, y, epilogue.bias, epilogue.residual});
  const StemWork work = StemWork::of(p);
  const bool is_dense = p.stride == 1;
  const Index all = Index{work.tiles} * work.channel_tiles;
  with_source(x, [&](auto source) {
    using Source = decltype(source);
    const auto start = [&](auto kernel, Index count, int threads, std::size_t shared, auto input) {
      launch(stream, "stem convolution", kernel, blocks(count), static_cast<unsigned>(threads),
             shared, work, input, w, epilogue, y);
    };
    if constexpr (std::is_same_v<T, float>) {
      start(is_dense ? stem_float_kernel<1> : stem_float_kernel<2>, all, kThreads,
            is_dense ? kSharedBytes<1> : kSharedBytes<2>, source.x);
    } else {
      // As many as all multiprocessors of an H100 hold at once.
      const Index most = 132 * kBlocksPerSm / work.channel_tiles * work.channel_tiles;
      start(is_dense ? stem_kernel<1, T, Source> : stem_kernel<2, T, Source>, std::min(all, most),
            kTensorThreads, sizeof(T) * (is_dense ? TileInput<1>::kCount : TileInput<2>::kCount),
            source);
    }
  });
}

#define DF_INSTANTIATE(T)                                                               \
  template void stem_forward(Stream, const StemProblem&, const StemInput<T>&, const T*, \
                             const Epilogue<T, float>&, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
