// y of a tile: x is normalised in shared memory, 32 channels at a time, and filtered there.
#include "kernels/cuda/depthwise/depthwise_tiles.cuh"
#include "kernels/cuda/depthwise/tile_filter.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

using namespace depthwise_tiles;

// One chunk of a tile is filtered while the next one is on its way. Behind it each strip's moments
// so far: means and squares, [2, channels].
template <class T>
struct TilesShared {
  struct Chunk {
    ChunkNorm norm;
    ChunkTaps<T> taps;
    alignas(16) T x[kPixels * kPitch];
  } chunks[2];
  float counts[kStrips];
};

template <int Stride, class T>
__global__ void __launch_bounds__(kThreads, 2)
    depthwise_tiles_kernel(TileWork work, const T* __restrict__ x, const T* __restrict__ taps,
                           NormOnLoad norm, T* __restrict__ y, float* __restrict__ moments) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(bytes);
  auto& shared = *reinterpret_cast<TilesShared<T>*>(bytes);
  const Sizes& s = work.sizes;
  const Own own(work);
  float* const means = reinterpret_cast<float*>(&shared + 1);
  float* const squares = means + kStrips * own.channels;
  const Share share;
  float count = 0.0f;  // of a channel's values in the warp's strips so far
  int turn = 0;
  const auto start = [&](int tile, int first, int to) {
    auto& chunk = shared.chunks[to];
    load_tile(s, output_place<Stride>(s, tile), first, x, chunk.x);
    chunk.taps.load(s, first, taps);
    chunk.norm.load(s, first, norm.scale, norm.shift);
    copy_async_commit();
  };
  if (own.part < s.tiles) start(own.part, own.begin, 0);
  for (int tile = own.part; tile < s.tiles; tile += own.parts) {
    const Place place = output_place<Stride>(s, tile);
    const auto n = static_cast<float>(pixels_of<Stride>(s, place, share.strip));
    for (int done = 0; done < own.channels; done += kChunk, turn = 1 - turn) {
      auto& chunk = shared.chunks[turn];
      const int first = own.begin + done;
      copy_async_wait<0>();
      __syncthreads();
      if (done + kChunk < own.channels)
        start(tile, first + kChunk, 1 - turn);
      else if (tile + own.parts < s.tiles)
        start(tile + own.parts, own.begin, 1 - turn);
      normalise_tile(s, place, chunk.norm, chunk.x, chunk.x);
      __syncthreads();
      const StripMoments of_chunk = filter<Stride>(s, place, first, share, chunk.x, chunk.taps, y);
      const int channel = done + share.group, at = share.strip * own.channels + channel;
      of_chunk.merge_into(share, count, n, own.channels - channel, means + at, squares + at);
    }
    count += n;
  }
  write_moments(s, share, own.begin, own.channels, count, means, squares, shared.counts,
                moments + own.part * ChannelMoments::pitch(s.wide));
}

TileWork divide(const DepthwiseProblem& p, Activation activation) {
  return TileWork::of(output_sizes(p, activation));
}

}  // namespace

bool has_depthwise_tiles(const DepthwiseProblem& p) {
  return can_be_counted(p);
}

Index depthwise_tiles_moment_parts(const DepthwiseProblem& p) {
  return divide(p, Activation::None).parts();
}

template <class T>
void depthwise_tiles_forward(Stream stream, const DepthwiseProblem& p, const T* x, const T* w,
                             const NormOnLoad& norm, T* y, const ChannelMoments& moments) {
  const char* const name = "depthwise convolution on tiles";
  require_few_values(name, "a picture", p.h * p.w * p.c, kMostInInt);
  require_vectors(name, p.c, {x, w, y, norm.scale, norm.shift, moments.values});
  const TileWork work = divide(p, norm.activation);
  launch(stream, name, p.stride == 1 ? depthwise_tiles_kernel<1, T> : depthwise_tiles_kernel<2, T>,
         blocks(moments.parts * work.groups), kThreads,
         sizeof(TilesShared<T>) + 2 * kStrips * at(work.channels) * sizeof(float), work, x, w, norm,
         y, moments.values);
}

#define DF_INSTANTIATE(T)                                                                    \
  template void depthwise_tiles_forward(Stream, const DepthwiseProblem&, const T*, const T*, \
                                        const NormOnLoad&, T*, const ChannelMoments&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
