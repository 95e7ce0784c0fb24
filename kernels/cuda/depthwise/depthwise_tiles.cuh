// What the depthwise kernels on tiles share: how a grid takes them, and tiles of x as they are
// normalised.
#pragma once

#include "kernels/cuda/depthwise/depthwise_tiles.h"
#include "kernels/cuda/depthwise/tile.cuh"
#include "kernels/cuda/norm_on_load.cuh"

namespace dfengine::cuda::depthwise_tiles {

// A block keeps to some chunks of channels, at most so many, and takes them of one tile after the
// other.
constexpr int kMostChunks = 8;
struct TileWork {
  Sizes sizes;
  int groups, channels;  // of blocks, and of a block

  // As many groups as make a large GPU busy.
  static TileWork of(const Sizes& sizes) {
    const Index chunks = divide_up(sizes.wide, kChunk);
    const Index wanted = std::min(chunks, divide_up(kMostBlocks, sizes.tiles));
    const Index of_block = divide_up(chunks, std::max(divide_up(chunks, kMostChunks), wanted));
    return {.sizes = sizes,
            .groups = static_cast<int>(divide_up(chunks, of_block)),
            .channels = static_cast<int>(of_block) * kChunk};
  }
  Index parts() const {
    return std::min(std::max<Index>(kMostBlocks / groups, 1), Index{sizes.tiles});
  }
};

// A block's channels, and its part of the tiles.
struct Own {
  int begin, channels, part, parts;
  __device__ __forceinline__ explicit Own(const TileWork& work)
      : begin(static_cast<int>(blockIdx.x) % work.groups * work.channels),
        channels(std::min(work.channels, work.sizes.wide - begin)),
        part(static_cast<int>(blockIdx.x) / work.groups),
        parts(static_cast<int>(gridDim.x) / work.groups) {}
};

// Calls body(where in a tile, pixel's row, column) for each of the thread's vectors of a tile.
template <class Body>
__device__ __forceinline__ void for_each_own_vector(Body&& body) {
  const int channel = static_cast<int>(threadIdx.x) % kVectors * kVector;
#pragma unroll
  for (int i = 0; i < kPixels / kApart; ++i) {
    const int pixel = static_cast<int>(threadIdx.x) / kVectors + i * kApart;
    body(pixel * kPitch + channel, pixel / kSide, pixel % kSide);
  }
}

// Starts to load a chunk of a tile of x.
template <class T>
__device__ __forceinline__ void load_tile(const Sizes& s, const Place& place, int first, const T* x,
                                          T* to) {
  const T* const image = x + Index{place.image} * s.h * s.w * s.wide;
  const int channel = first + static_cast<int>(threadIdx.x) % kVectors * kVector;
  for_each_own_vector([&](int at, int row, int column) {
    const bool valid = channel < s.wide && place.has(s, row, column);
    const int from = ((place.row + row) * s.w + place.column + column) * s.wide + channel;
    copy_async16(to + at, valid ? image + from : x, valid);
  });
}

// v of a chunk, zeros outside of the image: each thread takes its own vectors. v may be x.
template <class T>
__device__ __forceinline__ void normalise_tile(const Sizes& s, const Place& place,
                                               const ChunkNorm& norm, const T* x, T* v) {
  const int channel = static_cast<int>(threadIdx.x) % kVectors * kVector;
  float scale[kVector], shift[kVector];
  load8(norm.scale + channel, scale);
  load8(norm.shift + channel, shift);
  for_each_own_vector([&](int at, int row, int column) {
    Packed<T> values = load_packed(x + at);
    normalise(scale, shift, s.activation, values);
    store_packed(v + at, place.has(s, row, column) ? values : zeros<T>());
  });
}

}  // namespace dfengine::cuda::depthwise_tiles
