// Stem convolution that leaves the moments of y to the batch norm behind it. Blocks stay, and each takes
// tiles in turn, so that there are few parts.
#include "kernels/cuda/stem/stem_moments.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/stem/stem_product.cuh"
#include "kernels/cuda/thread_moments.cuh"

namespace dfengine::cuda {
namespace {

using namespace stem;

constexpr int kBlocksPerSm = 4;
using Kept = ThreadMoments<kThreads, kVector>;

// Stores the first `columns` of four outputs from y on, and adds up what was stored.
template <class T>
__device__ __forceinline__ void store(float (&sum)[kColumns][kVector], int columns, int k,
                                      bool first, T* y, Kept& kept) {
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    const Packed<T> stored = pack<T>(sum[j]);
    if (j < columns) store_packed(y + j * k, stored);
    unpack(stored, sum[j]);
  }
  if (first) kept.start(sum[0]);
  kept.add(sum, columns);
}

// x [n, h, w, 3], w [3, 3, 3, k], y [n, p, q, k]. The grid has a block for each tile of channels in each
// part. A thread keeps its group of channels.
template <int Stride, class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    stem_moments_kernel(StemWork work, const T* __restrict__ x, const T* __restrict__ w,
                        T* __restrict__ y, float* __restrict__ parts) {
  await_previous_kernels();
  __shared__ Kept kept;
  kept.clear();
  DF_DYNAMIC_SHARED(memory);
  auto* const input = reinterpret_cast<float*>(memory);
  float* const weights = input + TileInput<Stride>::kCount;
  const int first_channel = static_cast<int>(blockIdx.x % work.channel_tiles) * kTileChannels;
  const unsigned part = blockIdx.x / work.channel_tiles, step = gridDim.x / work.channel_tiles;
  const int groups = groups_in(work, first_channel), lists = kThreads / groups;
  const int group = static_cast<int>(threadIdx.x) % groups;
  const int list = static_cast<int>(threadIdx.x) / groups;
  load_weights(work, first_channel, groups, w, weights);
  bool first = true;
  for (unsigned at = part; at < work.tiles; at += step) {
    const Tile tile = tile_of(work, at);
    load_input<Stride, kThreads>(work, tile, x, input);
    __syncthreads();
    int pixels = 0;
    for (int quad = list; quad < kQuads && list < lists; quad += lists) {
      const int row = quad / (kTile / kColumns), column = quad % (kTile / kColumns) * kColumns;
      const int p = tile.p + row, q = tile.q + column;
      if (p >= work.p || q >= work.q) continue;
      float sum[kColumns][kVector] = {};
      convolve<Stride>(input, weights + group * kVector, row, column, sum);
      const int columns = work.q - q < kColumns ? work.q - q : kColumns;
      store(sum, columns, work.k, first,
            y + ((tile.image * work.p + p) * work.q + q) * work.k + first_channel + group * kVector,
            kept);
      first = false;
      pixels += columns;
    }
    if (pixels > 0) kept.settle(pixels);
    __syncthreads();
  }
  kept.write_part(groups, lists, first_channel, work.k,
                  parts + Index{part} * ChannelMoments::pitch(work.k));
}

}  // namespace

Index stem_moment_parts(const StemProblem& p) {
  // As many blocks as all multiprocessors of an H100 hold at once.
  constexpr Index kBlocks = 132 * kBlocksPerSm;
  const StemWork work = StemWork::of(p);
  return std::min(divide_up(kBlocks, work.channel_tiles), Index{work.tiles});
}

template <class T>
void stem_forward_moments(Stream stream, const StemProblem& p, const T* x, const T* w, T* y,
                          const ChannelMoments& moments) {
  require_vectors("stem convolution", p.k, {w, y, moments.values});
  const StemWork work = StemWork::of(p);
  const auto start = [&](auto kernel, int shared) {
    launch(stream, "stem convolution with moments", kernel,
           blocks(moments.parts * work.channel_tiles), kThreads, shared, work, x, w, y,
           moments.values);
  };
  if (p.stride == 1) return start(stem_moments_kernel<1, T>, kSharedBytes<1>);
  start(stem_moments_kernel<2, T>, kSharedBytes<2>);
}

#define DF_INSTANTIATE(T)                                                                \
  template void stem_forward_moments(Stream, const StemProblem&, const T*, const T*, T*, \
                                     const ChannelMoments&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
