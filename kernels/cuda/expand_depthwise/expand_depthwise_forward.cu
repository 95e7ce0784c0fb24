// y of a tile: v is made in shared memory, 32 channels at a time, and filtered there.
#include "kernels/cuda/expand_depthwise/expand_depthwise.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/moments.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

using namespace expand_depthwise;

// Pixels of y that 16 x 16 of v give, and how threads share them: one has two channels of a column, or of
// a part of it.
template <int Stride>
struct Output {
  static constexpr int kSides = Stride == 1 ? 14 : 7;
  static constexpr int kColumns = Stride == 1 ? 16 : 8, kStrips = 16 / kColumns;
  static constexpr int kRows = (kSides + kStrips - 1) / kStrips;
};

// In front of it in shared memory: x, v, w. Behind it the moments so far, [2, wide].
struct ForwardShared {
  ChunkNorm norm;
  float counts[kThreads / kPairs];
  float2 means[kThreads / kPairs][kPairs], squares[kThreads / kPairs][kPairs];
};

template <int In>
constexpr Index forward_elements() {
  return (kPixels + kChunk) * (In + kGap) + kPixels * kPitch;
}
template <int In>
constexpr Index forward_bytes(Index wide) {
  return forward_elements<In>() * 2 + Index{sizeof(ForwardShared)} + 2 * wide * kFloatBytes;
}

// What a thread has of y: sums around its first value.
struct RunningMoments {
  float n = 0, first[2] = {}, sums[2] = {}, squares[2] = {};
  __device__ __forceinline__ void add(const float (&v)[2]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (n == 0.0f) first[i] = v[i];
      const float d = v[i] - first[i];
      sums[i] += d;
      squares[i] = fmaf(d, d, squares[i]);
    }
    n += 1.0f;
  }
  __device__ void write(ForwardShared& shared, int list, int pair) const {
    const float share = n > 0.0f ? 1.0f / n : 0.0f;
    const float2 moved = {sums[0] * share, sums[1] * share};
    if (pair == 0) shared.counts[list] = n;
    shared.means[list][pair] = {first[0] + moved.x, first[1] + moved.y};
    shared.squares[list][pair] = {fmaf(-sums[0], moved.x, squares[0]),
                                  fmaf(-sums[1], moved.y, squares[1])};
  }
};

// Three columns of a row of v.
template <class T>
__device__ __forceinline__ void load_row(const T* v, float (&row)[3][2]) {
#pragma unroll
  for (int j = 0; j < 3; ++j)
    unpack_pair<T>(*reinterpret_cast<const std::uint32_t*>(v + j * kPitch), row[j]);
}

// The thread's pixels of y in two channels of the chunk, which begins at `first`.
template <int Stride, class T>
__device__ void filter(const Sizes& s, const Place& place, int first, const T* v,
                       const T* __restrict__ taps, T* __restrict__ y, ForwardShared& shared) {
  using Out = Output<Stride>;
  const int pair = static_cast<int>(threadIdx.x) % kPairs;
  const int list = static_cast<int>(threadIdx.x) / kPairs;
  const int column = list % Out::kColumns, row0 = list / Out::kColumns * Out::kRows;
  const int channel = first + 2 * pair;
  const int p0 = (place.row + s.before_h) / Stride + row0;
  const int q = (place.column + s.before_w) / Stride + column;
  RunningMoments moments;
  if (column < Out::kSides && q < s.q && channel < s.wide) {
    float w[9][2], window[3][3][2];
#pragma unroll
    for (int i = 0; i < 9; ++i)
      unpack_pair<T>(*reinterpret_cast<const std::uint32_t*>(taps + i * s.wide + channel), w[i]);
    const T* from = v + (row0 * kSide + column) * Stride * kPitch + 2 * pair;
#pragma unroll
    for (int i = 0; i < 3 - Stride; ++i) load_row(from + i * kSide * kPitch, window[i]);
    T* to = y + ((Index{place.image} * s.p + p0) * s.q + q) * s.wide + channel;
#pragma unroll
    for (int r = 0; r < Out::kRows; ++r) {
      if (row0 + r >= Out::kSides || p0 + r >= s.p) break;
#pragma unroll
      for (int i = 3 - Stride; i < 3; ++i)
        load_row(from + (r * Stride + i) * kSide * kPitch, window[i]);
      float sums[2] = {};
#pragma unroll
      for (int i = 0; i < 9; ++i)
#pragma unroll
        for (int k = 0; k < 2; ++k) sums[k] = fmaf(window[i / 3][i % 3][k], w[i][k], sums[k]);
      const std::uint32_t stored = pack_pair<T>(sums[0], sums[1]);
      *reinterpret_cast<std::uint32_t*>(to + Index{r} * s.q * s.wide) = stored;
      unpack_pair<T>(stored, sums);
      moments.add(sums);
#pragma unroll
      for (int i = 0; i < 3 - Stride; ++i)
#pragma unroll
        for (int j = 0; j < 3; ++j)
#pragma unroll
          for (int k = 0; k < 2; ++k) window[i][j][k] = window[i + Stride][j][k];
    }
  }
  moments.write(shared, list, pair);
}

// Merges the threads' lists with those of the tiles before, which have so many values.
__device__ void merge_lists(const Sizes& s, int first, float count, const ForwardShared& shared,
                            float* totals) {
  const int i = static_cast<int>(threadIdx.x), channel = first + i;
  if (i >= kChunk || channel >= s.wide) return;
  Moments all = {count, totals[channel], totals[s.wide + channel]};
  const auto value = [&](const float2& of) { return i % 2 == 0 ? of.x : of.y; };
  for (int list = 0; list < kThreads / kPairs; ++list)
    all = merge(all, {shared.counts[list], value(shared.means[list][i / 2]),
                      value(shared.squares[list][i / 2])});
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
  ForwardShared& shared = *reinterpret_cast<ForwardShared*>(v + kPixels * kPitch);
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
      copy_async_commit();
      shared.norm.load(s, first, saved);
      copy_async_wait<0>();
      __syncthreads();
      expand<In>(s, place, tile, weights, shared.norm, v);
      __syncthreads();
      filter<Stride>(s, place, first, v, taps, y, shared);
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
