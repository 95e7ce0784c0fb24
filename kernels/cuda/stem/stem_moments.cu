// Stem convolution that leaves the moments of y to the batch norm behind it. Blocks stay, and each
// takes tiles in turn, so that there are few parts.
#include "kernels/cuda/stem/stem_moments.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/stem/stem_tensor.cuh"
#include "kernels/cuda/thread_moments.cuh"

namespace dfengine::cuda {
namespace {

using namespace stem;

constexpr int kBlocksPerSm = 4;
using Kept = SettledMoments<kTensorThreads, kVector>;

// The sums of a lane's eight channels over what it stores of a tile.
struct Run {
  float mean[kVector], s[kVector], q[kVector];
  int pixels = 0;

  // What the block has kept so far.
  __device__ explicit Run(const Kept& kept) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      mean[i] = reinterpret_cast<const float*>(&kept.means[i / 4][threadIdx.x])[i % 4];
      s[i] = q[i] = 0.0f;
    }
  }

  __device__ __forceinline__ void add(const float (&v)[kVector]) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float d = v[i] - mean[i];
      s[i] += d;
      q[i] = fmaf(d, d, q[i]);
    }
    ++pixels;
  }

  __device__ void settle(Kept& kept) const {
    if (pixels == 0) return;
    const float count = kept.counts[threadIdx.x] += static_cast<float>(pixels);
#pragma unroll
    for (int quad = 0; quad < Kept::kQuads; ++quad) {
      const int i = 4 * quad;
      kept.settle_quad(quad, {s[i], s[i + 1], s[i + 2], s[i + 3]},
                       {q[i], q[i + 1], q[i + 2], q[i + 3]}, count);
    }
  }
};

// w [3, 3, 3, k], y [n, p, q, k]. The grid has a block for each tile of channels in each
// part.
template <int Stride, class T, class Source>
__global__ void __launch_bounds__(kTensorThreads, kBlocksPerSm)
    stem_moments_kernel(StemWork work, Source source, const T* __restrict__ w, T* __restrict__ y,
                        float* __restrict__ parts) {
  await_previous_kernels();
  __shared__ Kept kept;
  kept.clear();
  DF_DYNAMIC_SHARED(memory);
  T* const input = reinterpret_cast<T*>(memory);
  const int first_channel = static_cast<int>(blockIdx.x % work.channel_tiles) * kTileChannels;
  const unsigned part = blockIdx.x / work.channel_tiles, step = gridDim.x / work.channel_tiles;
  const TensorLane<Stride, T> lane(work, first_channel, w);
  bool is_first = true;
  for (unsigned at = part; at < work.tiles; at += step) {
    const Tile tile = tile_of(work, at);
    load_input<Stride, kTensorThreads>(work, tile, source, input);
    __syncthreads();
    Run run(kept);
    lane.for_each_output(work, tile, input, [&](Index place, float(&out)[kVector]) {
      const Packed<T> stored = pack<T>(out);
      store_packed(y + place, stored);
      unpack(stored, out);
      if (is_first) {
        kept.start(out);
        run = Run(kept);
        is_first = false;
      }
      run.add(out);
    });
    run.settle(kept);
    __syncthreads();
  }
  kept.write_part(kTileGroups, kTensorThreads / kTileGroups, first_channel, work.k,
                  parts + Index{part} * ChannelMoments::pitch(work.k));
}

}  // namespace

Index stem_moment_parts(const StemProblem& p) {
  // As many blocks as all multiprocessors of an H100 hold at once: one more would run behind all
  // others.
  constexpr Index kBlocks = 132 * kBlocksPerSm;
  const StemWork work = StemWork::of(p);
  return std::min(std::max<Index>(kBlocks / work.channel_tiles, 1), Index{work.tiles});
}

template <class T>
void stem_forward_moments(Stream stream, const StemProblem& p, const StemInput<T>& x, const T* w,
                          T* y, const ChannelMoments& moments) {
  require_vectors("stem convolution", p.k, {w, y, moments.values});
  const StemWork work = StemWork::of(p);
  with_source(x, [&](auto source) {
    using Source = decltype(source);
    const auto start = [&](auto kernel, int inputs) {
      launch(stream, "stem convolution with moments", kernel,
             blocks(moments.parts * work.channel_tiles), kTensorThreads, inputs * sizeof(T), work,
             source, w, y, moments.values);
    };
    if (p.stride == 1) return start(stem_moments_kernel<1, T, Source>, TileInput<1>::kCount);
    start(stem_moments_kernel<2, T, Source>, TileInput<2>::kCount);
  });
}

#define DF_INSTANTIATE(T)                                                                       \
  template void stem_forward_moments(Stream, const StemProblem&, const StemInput<T>&, const T*, \
                                     T*, const ChannelMoments&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
