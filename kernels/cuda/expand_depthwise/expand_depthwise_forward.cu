// y of a tile: v is made in shared memory, 32 channels at a time, and filtered there.
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

// In front of it in shared memory: x, w, v. Behind it the moments so far, [2, wide].
template <class T>
struct ForwardShared {
  ChunkNorm norm;
  ChunkTaps<T> taps;
  float counts[kStrips];
  float means[kStrips][kChunk], squares[kStrips][kChunk];
};

template <int In>
constexpr Index forward_elements() {
  return (kPixels + kChunk) * (In + kGap) + kPixels * kPitch;
}
template <int In>
constexpr Index forward_bytes(Index wide) {
  return forward_elements<In>() * 2 + Index{sizeof(ForwardShared<Half>)} + 2 * wide * kFloatBytes;
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
  // n: the strip's pixels. All lanes.
  template <class T>
  __device__ __forceinline__ void write(const Share& share, int n, ForwardShared<T>& shared) {
    const float share_of_one = n > 0 ? 1.0f / static_cast<float>(n) : 0.0f;
    if (share.lane == 0 && share.group == 0) shared.counts[share.strip] = static_cast<float>(n);
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        float s = sums[half][k], q = squares[half][k];
#pragma unroll
        for (int mask = 4; mask < kWarpSize; mask *= 2) {
          s += __shfl_xor_sync(kAllLanes, s, mask);
          q += __shfl_xor_sync(kAllLanes, q, mask);
        }
        const int channel = share.group + 8 * half + 2 * share.t + k;
        if (share.g != 0) continue;
        const float moved = s * share_of_one;
        shared.means[share.strip][channel] = first[half][k] + moved;
        shared.squares[share.strip][channel] = fmaf(-s, moved, q);
      }
  }
};

// The warp's pixels of y in 16 channels of the chunk, which begins at `first`.
template <int Stride, class T>
__device__ void filter(const Sizes& s, const Place& place, int first, const T* v, T* __restrict__ y,
                       ForwardShared<T>& shared) {
  using Out = Output<Stride>;
  const int sides = Out::kSides, strip_rows = Out::kStripRows;
  const Share share;
  const Diagonals<T> taps(share, shared.taps);
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
  const int of_strip = std::min(rows - strip_rows * share.strip, strip_rows);
  moments.write(share, of_strip > 0 ? of_strip * columns : 0, shared);
}

// Merges the strips' lists with those of the tiles before, which have so many values.
template <class T>
__device__ void merge_lists(const Sizes& s, int first, float count, const ForwardShared<T>& shared,
                            float* totals) {
  const int i = static_cast<int>(threadIdx.x), channel = first + i;
  if (i >= kChunk || channel >= s.wide) return;
  Moments all = {count, totals[channel], totals[s.wide + channel]};
  for (int strip = 0; strip < kStrips; ++strip)
    all = merge(all, {shared.counts[strip], shared.means[strip][i], shared.squares[strip][i]});
  totals[channel] = all.mean;
  totals[s.wide + channel] = all.m2;
}

template <int In, int Stride, class T>
__global__ void __launch_bounds__(kThreads, 2)
    expand_depthwise_kernel(Sizes s, const T* __restrict__ x, const T* __restrict__ w,
                            const T* __restrict__ taps, Saved saved, T* __restrict__ y,
                            float* __restrict__ moments) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(bytes);
  T* const tile = reinterpret_cast<T*>(bytes);
  T* const weights = tile + kPixels * (In + kGap);
  T* const v = weights + kChunk * (In + kGap);
  ForwardShared<T>& shared = *reinterpret_cast<ForwardShared<T>*>(v + kPixels * kPitch);
  float* const totals = reinterpret_cast<float*>(&shared + 1);
  constexpr int kSides = Output<Stride>::kSides;
  for (int i = static_cast<int>(threadIdx.x); i < 2 * s.wide; i += kThreads) totals[i] = 0.0f;
  float count = 0.0f;  // of a channel's values so far
  for (int at = static_cast<int>(blockIdx.x); at < s.tiles; at += static_cast<int>(gridDim.x)) {
    const int rest = at / s.column_tiles;
    const int p = rest % s.row_tiles * kSides, q = at % s.column_tiles * kSides;
    const Place place = {.image = rest / s.row_tiles,
                         .row = p * Stride - s.before_h,
                         .column = q * Stride - s.before_w};
    for (int first = 0; first < s.wide; first += kChunk) {
      __syncthreads();
      if (first == 0) load_input<In>(s, place, x, tile);
      load_weights<In>(s, first, w, weights);
      shared.taps.load(s, first, taps);
      copy_async_commit();
      shared.norm.load(s, first, saved);
      copy_async_wait<0>();
      __syncthreads();
      expand<In>(s, place, tile, weights, shared.norm, v);
      __syncthreads();
      filter<Stride>(s, place, first, v, y, shared);
      __syncthreads();
      merge_lists(s, first, count, shared, totals);
    }
    const int rows = s.p - p < kSides ? s.p - p : kSides;
    const int columns = s.q - q < kSides ? s.q - q : kSides;
    count += static_cast<float>(rows * columns);
  }
  // Each thread writes what it has merged.
  float* const part = moments + blockIdx.x * ChannelMoments::pitch(s.wide);
  if (threadIdx.x == 0) part[0] = count;
  for (int i = static_cast<int>(threadIdx.x); i < s.wide && threadIdx.x < kChunk; i += kChunk) {
    part[ChannelMoments::kHead + i] = totals[i];
    part[ChannelMoments::kHead + s.wide + i] = totals[s.wide + i];
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
void expand_depthwise_forward(Stream stream, const ExpandDepthwiseProblem& p, const T* x,
                              const T* w, const T* taps, const float* saved, T* y,
                              const ChannelMoments& moments) {
  const char* const name = "expansion and depthwise convolution";
  require_vectors(name, p.in, {x, w});
  require_vectors(name, p.wide(), {taps, saved, y, moments.values});
  with_depths(p.in, [&](auto depths) {
    constexpr int kIn = depths;
    const auto kernel = p.depthwise.stride == 1 ? expand_depthwise_kernel<kIn, 1, T>
                                                : expand_depthwise_kernel<kIn, 2, T>;
    launch(stream, name, kernel, blocks(moments.parts), kThreads,
           static_cast<std::size_t>(forward_bytes<kIn>(p.wide())), output_sizes(p), x, w, taps,
           Saved::in(saved, p), y, moments.values);
  });
}

#define DF_INSTANTIATE(T)                                                                 \
  template void expand_depthwise_forward(Stream, const ExpandDepthwiseProblem&, const T*, \
                                         const T*, const T*, const float*, T*,            \
                                         const ChannelMoments&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
