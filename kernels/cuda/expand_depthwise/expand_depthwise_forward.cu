// y of a tile: v is made in shared memory, 32 channels at a time, and filtered there.
#include "kernels/cuda/expand_depthwise/expand_depthwise_input.cuh"
#include "kernels/cuda/expand_depthwise/expand_depthwise_taps.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/moments.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

using namespace expand_depthwise;

// Pixels of y that 16 x 16 of v give, and how a warp takes its strip of them: four rows, or at stride 2 two
// rows of eight as one fragment.
template <int Stride>
struct Output {
  static constexpr int kSides = Stride == 1 ? 14 : 7;
  static constexpr int kFragments = Stride == 1 ? 4 : 1, kStripRows = Stride == 1 ? 4 : 2;
  // Of pixel i of a fragment.
  static __device__ __forceinline__ int row(const Share& share, int fragment, int i) {
    return kStripRows * share.strip + (Stride == 1 ? fragment : i / 8);
  }
  static __device__ __forceinline__ int column(int i) { return Stride == 1 ? i : i % 8; }
};

// What a chunk of channels needs: one is used while the next one is on its way.
template <class Input, class T>
struct Chunk {
  ChunkNorm norm;
  ChunkTaps<T> taps;
  alignas(16) T weights[kChunk * Input::kPitch];
  // Starts it.
  __device__ void load(const Sizes& s, int first, const T* w, const T* of_taps,
                       const Saved& saved) {
    Input::load_weights(s, first, w, weights);
    taps.load(s, first, of_taps);
    norm.load(s, first, saved);
  }
};

// In front of it in shared memory: x and its patch, v. Behind it each strip's moments so far: means and
// squares, [2, wide].
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

// Sums of a strip around its first pixel, of four channels a lane: two of each half of the group.
struct StripMoments {
  float first[2][2] = {}, sums[2][2] = {}, squares[2][2] = {};

  __device__ __forceinline__ void add(int half, const float (&v)[2]) {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const float d = v[k] - first[half][k];
      sums[half][k] += d;
      squares[half][k] = fmaf(d, d, squares[half][k]);
    }
  }
  // Merges those of n pixels with the strip's so far, of `before` pixels. means and squares_of: the strip's at
  // the group's first channel, of which there are so many. Steps halve what a lane adds up, so that it ends
  // with one channel. All lanes.
  __device__ __forceinline__ void merge_into(const Share& share, float before, float n,
                                             int channels, float* means, float* squares_of) const {
    const bool upper = (share.g & 4) != 0, right = (share.g & 2) != 0;
    float of_half[2][2], of_channel[2];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      of_half[0][k] = halved(upper, sums[0][k], sums[1][k], 16);
      of_half[1][k] = halved(upper, squares[0][k], squares[1][k], 16);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      of_channel[i] = halved(right, of_half[i][0], of_half[i][1], 8);
      of_channel[i] += __shfl_xor_sync(kAllLanes, of_channel[i], 4);
    }
    const int channel = (upper ? 8 : 0) + 2 * share.t + (right ? 1 : 0);
    if (share.g % 2 != 0 || n == 0.0f || channel >= channels) return;
    const float begin =
        upper ? (right ? first[1][1] : first[1][0]) : (right ? first[0][1] : first[0][0]);
    const float moved = of_channel[0] / n;
    const Moments all = merge({before, means[channel], squares_of[channel]},
                              {n, begin + moved, fmaf(-of_channel[0], moved, of_channel[1])});
    means[channel] = all.mean;
    squares_of[channel] = all.m2;
  }

 private:
  // Of two sums the one that the lane keeps, with the one of the lane across.
  static __device__ __forceinline__ float halved(bool second, float one, float other, int mask) {
    return (second ? other : one) + __shfl_xor_sync(kAllLanes, second ? one : other, mask);
  }
};

// The warp's pixels of y in 16 channels of the chunk, which begins at `first`.
template <int Stride, class T>
__device__ StripMoments filter(const Sizes& s, const Place& place, int first, const Share& share,
                               const T* v, const ChunkTaps<T>& of_taps, T* __restrict__ y) {
  using Out = Output<Stride>;
  const int sides = Out::kSides;
  const Diagonals<T> taps(share, of_taps);
  const int p0 = (place.row + s.before_h) / Stride, q0 = (place.column + s.before_w) / Stride;
  const int rows = std::min(sides, s.p - p0), columns = std::min(sides, s.q - q0);
  T* const image = y + Index{place.image} * s.p * s.q * s.wide;
  StripMoments moments;
#pragma unroll
  for (int f = 0; f < Out::kFragments; ++f) {
    if (Out::row(share, f, 0) >= rows) break;
    // What lies outside of the tile is read elsewhere: its pixels of y are not stored.
    const int i = share.lane % 16;
    const int row = std::min(Out::row(share, f, i), sides - 1);
    const int column = std::min(Out::column(i), sides - 1);
    const T* const pixel = v + (row * kSide + column) * Stride * kPitch + share.group;
    const auto under = [&](int tap) { return (tap / 3 * kSide + tap % 3) * kPitch; };
    Filtered d = {};
#pragma unroll
    for (int pair = 0; pair < kTapPairs; ++pair)
      add_pair(pixel + (share.lane < 16 ? under(tap_of(pair, 0)) : under(tap_of(pair, 1))), taps,
               pair, d);
    add_middle(pixel + under(kMiddle), share.lane, taps, d);
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      const int at = share.g + 8 * which, r = Out::row(share, f, at), c = Out::column(at);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int channel = first + share.group + 8 * half + 2 * share.t;
        const std::uint32_t stored = pack_pair<T>(d[half][2 * which], d[half][2 * which + 1]);
        float values[2];
        unpack_pair<T>(stored, values);
        if (f == 0 && which == 0) {
#pragma unroll
          for (int k = 0; k < 2; ++k)
            moments.first[half][k] = __shfl_sync(kAllLanes, values[k], share.t);
        }
        if (r >= rows || c >= columns || channel >= s.wide) continue;
        moments.add(half, values);
        *reinterpret_cast<std::uint32_t*>(image + ((p0 + r) * s.q + q0 + c) * s.wide + channel) =
            stored;
      }
    }
  }
  return moments;
}

template <int Stride>
__device__ __forceinline__ Place place_of(const Sizes& s, int tile) {
  constexpr int kSides = Output<Stride>::kSides;
  const int rest = tile / s.column_tiles;
  return {.image = rest / s.row_tiles,
          .row = rest % s.row_tiles * kSides * Stride - s.before_h,
          .column = tile % s.column_tiles * kSides * Stride - s.before_w};
}

// The pixels of y in a strip of the tile.
template <int Stride>
__device__ __forceinline__ int pixels_of(const Sizes& s, const Place& place, int strip) {
  using Out = Output<Stride>;
  const int sides = Out::kSides, strip_rows = Out::kStripRows;
  const int p0 = (place.row + s.before_h) / Stride, q0 = (place.column + s.before_w) / Stride;
  const int rows = std::min(std::min(sides, s.p - p0) - strip_rows * strip, strip_rows);
  return rows > 0 ? rows * std::min(sides, s.q - q0) : 0;
}

template <class Input, int Stride, class T>
__global__ void __launch_bounds__(kThreads, 2)
    expand_depthwise_kernel(Sizes s, Input of_x, const T* __restrict__ w,
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
    of_x.start(s, place_of<Stride>(s, tile), patch, input);
    shared.chunks[0].load(s, 0, w, taps, saved);
    copy_async_commit();
  }
  for (; tile < s.tiles; tile += apart) {
    const Place place = place_of<Stride>(s, tile);
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
      if (last && !last_tile) of_x.start(s, place_of<Stride>(s, tile + apart), patch, input);
      copy_async_commit();
      const StripMoments of_chunk = filter<Stride>(s, place, first, share, v, chunk.taps, y);
      const int channel = first + share.group, at = share.strip * s.wide + channel;
      of_chunk.merge_into(share, count, n, s.wide - channel, means + at, squares + at);
    }
    count += n;
  }
  if (share.lane == 0 && share.group == 0) shared.counts[share.strip] = count;
  __syncthreads();
  float* const part = moments + blockIdx.x * ChannelMoments::pitch(s.wide);
  for (int channel = static_cast<int>(threadIdx.x); channel < s.wide; channel += kThreads) {
    Moments all = {0.0f, 0.0f, 0.0f};
    for (int strip = 0; strip < kStrips; ++strip) {
      const int at = strip * s.wide + channel;
      all = merge(all, {shared.counts[strip], means[at], squares[at]});
    }
    if (channel == 0) part[0] = all.n;
    part[ChannelMoments::kHead + channel] = all.mean;
    part[ChannelMoments::kHead + s.wide + channel] = all.m2;
  }
}

Sizes output_sizes(const ExpandDepthwiseProblem& p) {
  const DepthwiseProblem& d = p.depthwise;
  return Sizes::of(p, d.p, d.q, d.stride == 1 ? Output<1>::kSides : Output<2>::kSides);
}

}  // namespace

Index expand_depthwise_parts(const ExpandDepthwiseProblem& p) {
  return std::min(kMostBlocks, Index{output_sizes(p).tiles});
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
             kThreads, static_cast<std::size_t>(forward_bytes<Input, T>(p.wide())), output_sizes(p),
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
