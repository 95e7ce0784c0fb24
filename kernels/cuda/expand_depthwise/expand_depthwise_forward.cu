// y of a tile: v is made in shared memory, 32 channels at a time, and filtered there.
#include "kernels/cuda/depthwise/tile_filter.cuh"
#include "kernels/cuda/expand_depthwise/expand_depthwise_input.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

using namespace expand_depthwise;

// What a chunk of channels needs: one is used while the next one is on its way.
template <class Input, class T>
struct Chunk {
  ChunkNorm norm;
  ChunkTaps<T> taps;
  alignas(16) T weights[kChunk * Input::kPitch];
  // Starts it.
  __device__ void load(const ExpandSizes& s, int first, const T* w, const T* of_taps,
                       const Saved& saved) {
    Input::load_weights(s, first, w, weights);
    taps.load(s, first, of_taps);
    norm.load(s, first, saved.scale, saved.shift);
  }
};

// In front of it in shared memory: x and its patch, v. Behind it each strip's moments so far: means
// and squares, [2, wide].
template <class Input, class T>
struct ForwardShared {
  Chunk<Input, T> chunks[2];
  float counts[kStrips];
};

template <class Input, class T>
constexpr Index forward_bytes(Index wide) {
  return (kPixels * Input::kPitch + Input::kPatch + kPixels * kPitch) * 2 +
         Index{sizeof(ForwardShared<Input, T>)} + 2 * kStrips * wide * kFloatBytes;
}

template <class Input, int Stride, class T>
__global__ void __launch_bounds__(kThreads, 2)
    expand_depthwise_kernel(ExpandSizes s, Input of_x, const T* __restrict__ w,
                            const T* __restrict__ taps, Saved saved, T* __restrict__ y,
                            float* __restrict__ moments) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(bytes);
  T* const input = reinterpret_cast<T*>(bytes);
  T* const patch = input + kPixels * Input::kPitch;
  T* const v = patch + Input::kPatch;
  auto& shared = *reinterpret_cast<ForwardShared<Input, T>*>(v + kPixels * kPitch);
  float* const means = reinterpret_cast<float*>(&shared + 1);
  float* const squares = means + kStrips * s.wide;
  const Share share;
  float count = 0.0f;  // of a channel's values in the warp's strips so far
  const auto apart = static_cast<int>(gridDim.x);
  int tile = static_cast<int>(blockIdx.x), turn = 0;
  if (tile < s.tiles) {
    of_x.start(s, output_place<Stride>(s, tile), patch, input);
    shared.chunks[0].load(s, 0, w, taps, saved);
    copy_async_commit();
  }
  for (; tile < s.tiles; tile += apart) {
    const Place place = output_place<Stride>(s, tile);
    const auto n = static_cast<float>(pixels_of<Stride>(s, place, share.strip));
    const bool last_tile = tile + apart >= s.tiles;
    for (int first = 0; first < s.wide; first += kChunk, turn = 1 - turn) {
      const Chunk<Input, T>& chunk = shared.chunks[turn];
      const bool last = first + kChunk >= s.wide;
      copy_async_wait<0>();
      __syncthreads();
      if (!last || !last_tile)
        shared.chunks[1 - turn].load(s, last ? 0 : first + kChunk, w, taps, saved);
      if (first == 0) of_x.finish(s, place, patch, input);
      expand<Input::kDepth>(s, place, input, chunk.weights, chunk.norm, v);
      __syncthreads();
      if (last && !last_tile) of_x.start(s, output_place<Stride>(s, tile + apart), patch, input);
      copy_async_commit();
      const StripMoments of_chunk = filter<Stride>(s, place, first, share, v, chunk.taps, y);
      const int channel = first + share.group, at = share.strip * s.wide + channel;
      of_chunk.merge_into(share, count, n, s.wide - channel, means + at, squares + at);
    }
    count += n;
  }
  write_moments(s, share, 0, s.wide, count, means, squares, shared.counts,
                moments + blockIdx.x * ChannelMoments::pitch(s.wide));
}

ExpandSizes tiles_of(const ExpandDepthwiseProblem& p) {
  return ExpandSizes::of(p, output_sizes(p.depthwise, p.activation));
}

}  // namespace

Index expand_depthwise_parts(const ExpandDepthwiseProblem& p) {
  return std::min(kMostBlocks, Index{tiles_of(p).tiles});
}

template <class T>
void expand_depthwise_forward(Stream stream, const ExpandDepthwiseProblem& p, const void* x,
                              const T* w, const T* taps, const float* saved, T* y,
                              const ChannelMoments& moments) {
  const char* const name = "expansion and depthwise convolution";
  require_input(name, p, x, w);
  require_vectors(name, p.wide(), {taps, saved, y, moments.values});
  with_input<T>(p, x, [&](auto input) {
    using Input = decltype(input);
    with_stride<Input>(p, [&](auto stride) {
      launch(stream, name, expand_depthwise_kernel<Input, stride, T>, blocks(moments.parts),
             kThreads, static_cast<std::size_t>(forward_bytes<Input, T>(p.wide())), tiles_of(p),
             input, w, taps, Saved::in(saved, p), y, moments.values);
    });
  });
}

#define DF_INSTANTIATE(T)                                                                    \
  template void expand_depthwise_forward(Stream, const ExpandDepthwiseProblem&, const void*, \
                                         const T*, const T*, const float*, T*,               \
                                         const ChannelMoments&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
