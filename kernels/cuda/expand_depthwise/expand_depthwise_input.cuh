// What expansions that are not stored take: rows of x, or windows of pixels.
#pragma once

#include "kernels/cuda/expand_depthwise/expand_depthwise.cuh"
#include "kernels/cuda/stem/stem_tensor.cuh"

namespace dfengine::cuda::expand_depthwise {

// x [rows, in] and w [wide, in], with zeros behind the channels up to Depth.
template <int Depth, class T>
struct Rows {
  static constexpr int kDepth = Depth, kPitch = Depth + kGap, kVectors = Depth / kVector;
  static constexpr bool kPixelsAlone = false;
  static constexpr int kPatch = 0;  // values on their way to a tile's, in shared memory
  const T* x;

  // Starts what makes a tile's x, [kPixels, kPitch], zeros outside of the image.
  __device__ void start(const ExpandSizes& s, const Place& place, T* /*patch*/, T* to) const {
    const T* const image = x + Index{place.image} * s.h * s.w * s.in;
    for (int i = static_cast<int>(threadIdx.x); i < kPixels * kVectors; i += kThreads) {
      const int pixel = i / kVectors, channel = i % kVectors * kVector;
      const int row = pixel / kSide, column = pixel % kSide;
      const bool valid = channel < s.in && place.has(s, row, column);
      const int from = ((place.row + row) * s.w + place.column + column) * s.in + channel;
      copy_async16(to + pixel * kPitch + channel, valid ? image + from : x, valid);
    }
  }
  // The rest, behind a barrier, of the warp's two rows of the tile.
  __device__ void finish(const ExpandSizes&, const Place&, const T* /*patch*/, T* /*to*/) const {}

  // The same for any so many of all rows, of which there are `rows`. All threads.
  __device__ void take(const ExpandSizes& s, Index rows, int part, T* /*patch*/, T* to) const {
    for (int i = static_cast<int>(threadIdx.x); i < kPixels * kVectors; i += kThreads) {
      const Index row = Index{part} * kPixels + i / kVectors;
      const int channel = i % kVectors * kVector;
      const bool valid = row < rows && channel < s.in;
      copy_async16(to + i / kVectors * kPitch + channel, valid ? x + row * s.in + channel : x,
                   valid);
    }
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
  }
  static Index parts(const ExpandDepthwiseProblem& p) {
    return divide_up(p.rows(), Index{kPixels});
  }

  // Where w has a weight; negative: nowhere.
  static __device__ __forceinline__ int weight_at(const ExpandSizes& s, int channel, int depth) {
    return channel < s.wide && depth < s.in ? channel * s.in + depth : -1;
  }
  // Starts to load rows of w of a chunk: [kChunk, kPitch].
  static __device__ void load_weights(const ExpandSizes& s, int first, const T* w, T* to) {
    for (int i = static_cast<int>(threadIdx.x); i < kChunk * kVectors; i += kThreads) {
      const int row = i / kVectors, at = weight_at(s, first + row, i % kVectors * kVector);
      copy_async16(to + row * kPitch + i % kVectors * kVector, at < 0 ? w : w + at, at >= 0);
    }
  }
};

// The windows of a stem of this stride under 16 x 16 of its results, and its w [3, 3, 3, wide].
template <int Stride, class T>
struct Windows {
  using Patch = stem::TileInput<Stride>;
  static constexpr int kDepth = PixelInput::kDepth, kPitch = kDepth + kGap;
  static constexpr bool kPixelsAlone = true;
  static constexpr int kPatch = (Patch::kCount + kVector - 1) / kVector * kVector;
  stem::StemWork work;
  stem::Pixels<T> pixels;

  // The patch is what lies under the tile, normalised.
  __device__ void start(const ExpandSizes&, const Place& place, T* patch, T* /*to*/) const {
    stem::load_input<Stride, kThreads>(work, {place.image, place.row, place.column}, pixels, patch);
  }
  __device__ void finish(const ExpandSizes& s, const Place& place, const T* patch, T* to) const {
    static_assert(kWarpRows * kSide == kWarpSize && kSide == stem::kTile);
    constexpr int kRowWords = 5, kWords = kDepth / 2;
    const int pixel = static_cast<int>(threadIdx.x), row = pixel / kSide, column = pixel % kSide;
    const T* const from = patch + Stride * (row * Patch::kPitch + 3 * column);
    const bool inside = place.has(s, row, column);
    std::uint32_t words[kWords] = {};
#pragma unroll
    for (int r = 0; r < StemProblem::kWindow; ++r)
#pragma unroll
      for (int i = 0; i < kRowWords; ++i) {
        const std::uint32_t pair = stem::load_pair<Stride == 2>(from + r * Patch::kPitch + 2 * i);
        // Behind the nine values of a row stands the next pixel's.
        words[kRowWords * r + i] = !inside ? 0 : i == kRowWords - 1 ? pair & 0xFFFFu : pair;
      }
#pragma unroll
    for (int i = 0; i < kWords; i += 4)
      *reinterpret_cast<uint4*>(to + pixel * kPitch + 2 * i) = {words[i], words[i + 1],
                                                                words[i + 2], words[i + 3]};
    __syncwarp();
  }
  __device__ void take(const ExpandSizes& s, Index /*rows*/, int part, T* patch, T* to) const {
    const Place place = Place::of(s, part);
    start(s, place, patch, to);
    __syncthreads();
    finish(s, place, patch, to);
    __syncthreads();
  }
  static Index parts(const ExpandDepthwiseProblem& p) {
    return wide_sizes(p).tiles;
  }

  static __device__ __forceinline__ int weight_at(const ExpandSizes& s, int channel, int depth) {
    constexpr int kRow = stem::kRowDepths, kValues = 9;
    const bool has = channel < s.wide && depth < stem::kDepths && depth % kRow < kValues;
    return has ? (depth / kRow * kValues + depth % kRow) * s.wide + channel : -1;
  }
  static __device__ void load_weights(const ExpandSizes& s, int first, const T* w, T* to) {
    for (int i = static_cast<int>(threadIdx.x); i < kChunk * kDepth; i += kThreads) {
      const int row = i % kChunk, depth = i / kChunk, at = weight_at(s, first + row, depth);
      to[row * kPitch + depth] = at < 0 ? T{} : w[at];
    }
  }
};

// Calls f with the kind of input that the problem has.
template <class T, class F>
void with_input(const ExpandDepthwiseProblem& p, const void* x, F f) {
  const auto* const values = static_cast<const T*>(x);
  if (p.pixels) {
    const auto work = stem::StemWork::of(p.pixels->stem);
    const stem::Pixels<T> pixels{static_cast<const std::uint8_t*>(x), p.pixels->affine};
    return p.pixels->stem.stride == 1 ? f(Windows<1, T>{work, pixels})
                                      : f(Windows<2, T>{work, pixels});
  }
  if (padded(p.in) == 16)
    f(Rows<16, T>{values});
  else
    f(Rows<32, T>{values});
}

// Calls f with the depthwise convolution's stride as a constant.
template <class Input, class F>
void with_stride(const ExpandDepthwiseProblem& p, F f) {
  if (p.depthwise.stride == 1) return f(std::integral_constant<int, 1>{});
  if constexpr (!Input::kPixelsAlone)
    f(std::integral_constant<int, 2>{});
  else
    throw ShapeError("an expansion of pixels: the depthwise convolution's stride is not 1");
}

// What kernels load as vectors lies where vectors do.
inline void require_input(const char* name, const ExpandDepthwiseProblem& p, const void* x,
                          const void* w) {
  if (p.pixels)
    require_vectors(name, p.wide(), {w});
  else
    require_vectors(name, p.in, {x, w});
}

}  // namespace dfengine::cuda::expand_depthwise
