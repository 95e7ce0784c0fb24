// What the stem's kernels share: tiles of outputs, and the input under one in shared memory.
#pragma once

#include "kernels/cuda/pixels.cuh"
#include "kernels/cuda/platform.cuh"
#include "kernels/cuda/requirements.cuh"
#include "kernels/stem_conv.h"

namespace dfengine::cuda::stem {

// The outputs on each side of a tile. 112 and 80 are multiples of it.
constexpr int kTile = 16;
// Output channels of a block.
constexpr int kTileChannels = 32;
constexpr int kTileGroups = kTileChannels / kVector;

// The input under a tile.
template <int Stride>
struct TileInput {
  static constexpr int kRows = Stride * (kTile - 1) + 3;
  // The values of one row in shared memory: so many pixels of 3, and at least one more so that rows
  // are aligned.
  static constexpr int kPitch = (kRows * 3 + 4) / 4 * 4;
  static constexpr int kCount = kRows * kPitch;
};

// The sizes of a problem as kernels take them, and how the work is divided.
struct StemWork {
  int h, w, k, p, q, before_h, before_w;
  unsigned tile_rows, tile_columns;  // tiles per image
  unsigned channel_tiles;
  unsigned tiles;  // of all images

  static StemWork of(const StemProblem& p) {
    const Index rows = divide_up(p.p, kTile), columns = divide_up(p.q, kTile);
    return {.h = static_cast<int>(p.h),
            .w = static_cast<int>(p.w),
            .k = static_cast<int>(p.k),
            .p = static_cast<int>(p.p),
            .q = static_cast<int>(p.q),
            .before_h = static_cast<int>(p.before_h),
            .before_w = static_cast<int>(p.before_w),
            .tile_rows = static_cast<unsigned>(rows),
            .tile_columns = static_cast<unsigned>(columns),
            .channel_tiles = static_cast<unsigned>(divide_up(p.k, kTileChannels)),
            .tiles = narrow_count("stem convolution", p.n, p.n * rows * columns)};
  }
};

// A tile's image and its first output row and column.
struct Tile {
  Index image;
  int p, q;
};

__device__ __forceinline__ Tile tile_of(const StemWork& work, unsigned tile) {
  const unsigned row = tile / work.tile_columns;
  return {.image = Index{row / work.tile_rows},
          .p = static_cast<int>(row % work.tile_rows) * kTile,
          .q = static_cast<int>(tile % work.tile_columns) * kTile};
}

// The groups of eight channels in the channel tile of the block. The last tile has fewer.
__device__ __forceinline__ int groups_in(const StemWork& work, int first_channel) {
  const int left = (work.k - first_channel) / kVector;
  return left < kTileGroups ? left : kTileGroups;
}

template <class V, class T>
__device__ __forceinline__ V converted(T x) {
  if constexpr (std::is_same_v<V, T>)
    return x;
  else
    return to_float(x);
}

// Where the input comes from. What was loaded becomes a value of the tile when all loads are under
// way.
template <class T>
struct Values {
  using Loaded = T;
  const T* x;
  __device__ __forceinline__ Loaded load(Index at, bool inside) const {
    return inside ? x[at] : T{};
  }
  template <class V>
  __device__ __forceinline__ V value(Loaded loaded, int /*channel*/) const {
    return converted<V>(loaded);
  }
};
template <class T>
struct Pixels {
  using Loaded = int;
  const std::uint8_t* x;
  PixelAffine affine;
  __device__ __forceinline__ Loaded load(Index at, bool inside) const {
    return inside ? x[at] : -1;
  }
  template <class V>
  __device__ __forceinline__ V value(Loaded loaded, int channel) const {
    return loaded < 0 ? V{} : from_float<V>(normalized(affine, channel, loaded));
  }
};

// Calls f with the input's source.
template <class T, class F>
void with_source(const StemInput<T>& input, F f) {
  if constexpr (sizeof(T) == 2) {
    if (input.pixels != nullptr) return f(Pixels<T>{input.pixels, input.affine});
  }
  if (input.x == nullptr) throw ShapeError("stem convolution: only 16 bits are made of pixels");
  f(Values<T>{input.x});
}

// input [kRows, kPitch] of TileInput = the input under the tile, with zeros outside the image; of
// floats, or of T. The tile may begin outside the image.
template <int Stride, int Threads, class Source, class V>
__device__ __forceinline__ void load_input(const StemWork& work, const Tile& tile,
                                           const Source& source, V* input) {
  using In = TileInput<Stride>;
  constexpr int kWarps = Threads / kWarpSize;
  constexpr int kRows = (In::kRows + kWarps - 1) / kWarps;
  constexpr int kSpans = (In::kPitch + kWarpSize - 1) / kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int first_row = Stride * tile.p - work.before_h + warp;
  const int first_value = 3 * (Stride * tile.q - work.before_w) + lane;
  const int row_values = 3 * work.w;
  const Index image = tile.image * work.h * row_values;
  // A warp reads whole rows. All loads are under way before the first store waits for one.
  typename Source::Loaded loaded[kRows][kSpans];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int row = first_row + i * kWarps;
    const Index at = image + Index{row} * row_values + first_value;
#pragma unroll
    for (int j = 0; j < kSpans; ++j) {
      // A place before the image is a very large unsigned one.
      const bool inside =
          static_cast<unsigned>(row) < static_cast<unsigned>(work.h) &&
          static_cast<unsigned>(first_value + j * kWarpSize) < static_cast<unsigned>(row_values);
      loaded[i][j] = source.load(at + j * kWarpSize, inside);
    }
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i)
#pragma unroll
    for (int j = 0; j < kSpans; ++j) {
      const int row = warp + i * kWarps, value = lane + j * kWarpSize;
      if (row < In::kRows && value < In::kPitch)
        input[row * In::kPitch + value] = source.template value<V>(loaded[i][j], value % 3);
    }
}

// Loads Count values, a multiple of 4, from shared memory that is aligned to 16 bytes.
template <int Count>
__device__ __forceinline__ void load_values(const float* from, float (&values)[Count]) {
#pragma unroll
  for (int i = 0; i < Count; i += 4) {
    const float4 v = *reinterpret_cast<const float4*>(from + i);
    values[i] = v.x, values[i + 1] = v.y, values[i + 2] = v.z, values[i + 3] = v.w;
  }
}

}  // namespace dfengine::cuda::stem
