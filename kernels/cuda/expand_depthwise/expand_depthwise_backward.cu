// One pass over y's gradient: a tile of v is made again in shared memory, the gradient behind its
// activation takes its place, and two products make of that what is narrow again.
#include "kernels/cuda/context.h"
#include "kernels/cuda/depthwise/tile_gradient.cuh"
#include "kernels/cuda/expand_depthwise/expand_depthwise_input.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

using namespace expand_depthwise;

template <class Input, int Stride>
constexpr Index backward_elements() {
  return (kPixels + 2 * kChunk) * Input::kPitch + Input::kPatch +
         (kPixels + kHalo<Stride> * kHalo<Stride>)*kPitch;
}
// Of each channel R, nine taps' gradients and the sum of g.
constexpr Index kept_floats(Index in, Index wide) {
  return (in + kTaps + 1) * wide;
}
template <class Input, int Stride>
constexpr Index backward_bytes(Index in, Index wide) {
  return backward_elements<Input, Stride>() * 2 + Index{sizeof(BackwardShared<Half>)} +
         kept_floats(in, wide) * kFloatBytes;
}

// Adds g^T x of a chunk to R [wide, in], and the sums of g: a warp has 16 channels of g and 8 of x.
template <int In, class T>
__device__ void keep_products(const ExpandSizes& s, int first, const T* x, const T* gradient,
                              float* products, float* of_g) {
  constexpr int kXPitch = In + kGap;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int tall = warp % 2, narrow = warp / 2;
  if (narrow >= In / 8) return;
  PixelSums sums;
  sums.add(gradient + 16 * tall, kPitch, x + 8 * narrow, kXPitch, narrow == 0);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int channel = first + 16 * tall + g + i / 2 * 8, depth = 8 * narrow + 2 * t + i % 2;
    if (channel >= s.wide) continue;
    if (depth < s.in) products[channel * s.in + depth] += sums.products[i];
    if (narrow == 0 && t == 0 && i % 2 == 0) of_g[channel] += sums.totals[i];
  }
}

// The warp's two rows of (a g) w, in fragments.
template <int In>
using Projected = float[kWarpRows][In / 8][4];

template <int In, class T>
__device__ void project(const T* scaled, const T* gradient, Projected<In>& sums) {
  constexpr int kXPitch = In + kGap;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
#pragma unroll
  for (int channel = 0; channel < kChunk; channel += 16) {
    std::uint32_t a[kWarpRows][4];
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r)
      load_a(a[r], gradient + (warp * kWarpRows + r) * kSide * kPitch + channel, kPitch, lane);
#pragma unroll
    for (int j = 0; j < In / 16; ++j) {
      std::uint32_t b[4];
      load_b_transposed(b, scaled + channel * kXPitch + 16 * j, kXPitch, lane);
#pragma unroll
      for (int r = 0; r < kWarpRows; ++r) {
        mma_16x8x16<T>(sums[r][2 * j], a[r], {b[0], b[1]});
        mma_16x8x16<T>(sums[r][2 * j + 1], a[r], {b[2], b[3]});
      }
    }
  }
}

template <int In, class T>
__device__ void store_projected(const ExpandSizes& s, const Place& place, const Projected<In>& sums,
                                T* to) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
#pragma unroll
  for (int r = 0; r < kWarpRows; ++r)
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      const int row = warp * kWarpRows + r, column = g + 8 * which;
      if (!place.has(s, row, column)) continue;
      T* const pixel =
          to + ((Index{place.image} * s.h + place.row + row) * s.w + place.column + column) * s.in;
#pragma unroll
      for (int j = 0; j < In / 8; ++j)
        if (8 * j < s.in)
          *reinterpret_cast<std::uint32_t*>(pixel + 8 * j + 2 * t) =
              pack_pair<T>(sums[r][j][2 * which], sums[r][j][2 * which + 1]);
    }
}

// w with each row times the scale of its channel.
template <int In, class T>
__device__ void scale_weights(const ChunkNorm& norm, const T* w, T* scaled) {
  constexpr int kXPitch = In + kGap, kRowPairs = In / 2;
  for (int i = static_cast<int>(threadIdx.x); i < kChunk * kRowPairs; i += kThreads) {
    const int row = i / kRowPairs, at = row * kXPitch + i % kRowPairs * 2;
    float pair[2];
    unpack_pair<T>(*reinterpret_cast<const std::uint32_t*>(w + at), pair);
    *reinterpret_cast<std::uint32_t*>(scaled + at) =
        pack_pair<T>(pair[0] * norm.scale[row], pair[1] * norm.scale[row]);
  }
}

// parts [blocks, wide, in] and behind each the sums of g; tap_parts [blocks, 9, wide].
template <class Input, int Stride, class T, class Of>
__global__ void __launch_bounds__(kThreads, 2)
    expand_depthwise_backward_kernel(ExpandSizes s, Input of_x, Of of, const T* __restrict__ w,
                                     const T* __restrict__ taps, Saved saved,
                                     float* __restrict__ parts, float* __restrict__ tap_parts,
                                     T* __restrict__ projected) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(bytes);
  constexpr int kDepth = Input::kDepth, kXPitch = Input::kPitch;
  T* const tile = reinterpret_cast<T*>(bytes);
  T* const patch = tile + kPixels * kXPitch;
  T* const weights = patch + Input::kPatch;
  T* const scaled = weights + kChunk * kXPitch;
  T* const v = scaled + kChunk * kXPitch;
  T* const dy = v + kPixels * kPitch;
  auto& shared = *reinterpret_cast<BackwardShared<T>*>(dy + kHalo<Stride> * kHalo<Stride> * kPitch);
  float* const products = reinterpret_cast<float*>(&shared + 1);
  float* const of_g = products + s.in * s.wide;
  float* const of_taps = of_g + s.wide;
  const int kept = (s.in + 1 + kTaps) * s.wide;
  for (int i = static_cast<int>(threadIdx.x); i < kept; i += kThreads) products[i] = 0.0f;
  const auto start_chunk = [&](const Place& place, int first) {
    Input::load_weights(s, first, w, weights);
    load_gradient<Stride>(s, place, first, of, dy);
    shared.of_taps.load(s, first, taps);
    shared.norm.load(s, first, saved.scale, saved.shift);
    copy_async_commit();
  };
  const Share share;
  const auto apart = static_cast<int>(gridDim.x);
  start_chunk(Place::of(s, static_cast<int>(blockIdx.x)), 0);
  for (int at = static_cast<int>(blockIdx.x); at < s.tiles; at += apart) {
    const Place place = Place::of(s, at);
    Projected<kDepth> sums = {};
    __syncthreads();
    of_x.start(s, place, patch, tile);
    copy_async_commit();
#pragma unroll 1
    for (int first = 0; first < s.wide; first += kChunk) {
      copy_async_wait<0>();
      __syncthreads();
      if (first == 0) of_x.finish(s, place, patch, tile);
      if constexpr (!Input::kPixelsAlone) scale_weights<kDepth>(shared.norm, weights, scaled);
      expand<kDepth>(s, place, tile, weights, shared.norm, v);
      __syncthreads();
      differentiate<Stride>(s, place, share, PassesByValue<T>{s.activation, v + share.group}, dy, v,
                            shared);
      __syncthreads();
      // From here on only g, x and the scaled weights are read: the next chunk may come.
      const bool last = first + kChunk >= s.wide;
      const int next = last ? at + apart : at;
      if (next < s.tiles) start_chunk(Place::of(s, next), last ? 0 : first + kChunk);
      keep_taps(s.wide - first, s.wide, shared, of_taps + first);
      keep_products<kDepth>(s, first, tile, v, products, of_g);
      if constexpr (!Input::kPixelsAlone) project<kDepth>(scaled, v, sums);
    }
    if constexpr (!Input::kPixelsAlone)
      if (projected != nullptr) store_projected<kDepth>(s, place, sums, projected);
  }
  __syncthreads();
  const int of_part = (s.in + 1) * s.wide, taps_of_part = kTaps * s.wide;
  for (int i = static_cast<int>(threadIdx.x); i < of_part; i += kThreads)
    parts[Index{blockIdx.x} * of_part + i] = products[i];
  for (int i = static_cast<int>(threadIdx.x); i < taps_of_part; i += kThreads)
    tap_parts[Index{blockIdx.x} * taps_of_part + i] = of_taps[i];
}

Index backward_blocks(const ExpandDepthwiseProblem& p) {
  return std::min(kMostBlocks, Index{wide_sizes(p).tiles});
}

}  // namespace

bool has_expand_depthwise(const ExpandDepthwiseProblem& p) {
  if (p.in > 32 || p.in % kVector != 0 || p.wide() % kVector != 0) return false;
  if (p.pixels && p.depthwise.stride != 1) return false;
  if (!can_be_counted(p.depthwise)) return false;
  Index bytes = 0;
  with_input<Half>(p, nullptr, [&](auto input) {
    using Input = decltype(input);
    with_stride<Input>(p,
                       [&](auto stride) { bytes = backward_bytes<Input, stride>(p.in, p.wide()); });
  });
  return bytes <= static_cast<Index>(shared_memory_limit());
}

Index expand_depthwise_sums(const ExpandDepthwiseProblem& p) {
  return (p.in + 1) * p.wide();
}

Index expand_depthwise_scratch(const ExpandDepthwiseProblem& p) {
  return backward_blocks(p) * (expand_depthwise_sums(p) + kTaps * p.wide());
}

template <class T>
void expand_depthwise_backward(Stream stream, const ExpandDepthwiseProblem& p, const void* x,
                               const T* y, const T* dy, const T* w, const T* taps,
                               const float* saved, const GradientOnLoad& gradient, float* scratch,
                               float* sums, float* dtaps, T* projected) {
  const char* const name = "gradients of an expansion and depthwise convolution";
  require_input(name, p, x, w);
  require_vectors(name, p.in, {projected});
  require_vectors(name, p.wide(), {y, dy, taps, saved, scratch, gradient.factors});
  const Index parts = backward_blocks(p), count = expand_depthwise_sums(p);
  float* const tap_parts = scratch + parts * count;
  with_input<T>(p, x, [&](auto input) {
    using Input = decltype(input);
    with_stride<Input>(p, [&](auto stride) {
      with_gradient(y, dy, gradient, [&](auto of) {
        launch(stream, name, expand_depthwise_backward_kernel<Input, stride, T, decltype(of)>,
               blocks(parts), kThreads,
               static_cast<std::size_t>(backward_bytes<Input, stride>(p.in, p.wide())),
               wide_sizes(p), input, of, w, taps, Saved::in(saved, p), scratch, tap_parts,
               projected);
      });
    });
  });
  ordered_sum(stream, parts, count, parts, scratch, sums);
  ordered_sum(stream, parts, kTaps * p.wide(), parts, tap_parts, dtaps);
}

#define DF_INSTANTIATE(T)                                                                       \
  template void expand_depthwise_backward(Stream, const ExpandDepthwiseProblem&, const void*,   \
                                          const T*, const T*, const T*, const T*, const float*, \
                                          const GradientOnLoad&, float*, float*, float*, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
