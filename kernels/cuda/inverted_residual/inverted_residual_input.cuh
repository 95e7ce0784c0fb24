// What the blocks of the kernel of inverted residuals work on: their tiles, and how these get their
// input.
#pragma once

#include "kernels/cuda/inverted_residual/inverted_residual_tile.cuh"
#include "kernels/cuda/pixels.cuh"

namespace dfengine::cuda {

template <class T, class Input>
struct BlockWork {
  using Value = T;
  Input input;
  const std::byte* weights;  // chunk after chunk, and then the projection's biases
  T* y;
  int h, w, p, q, before_h, before_w;
  int chunks, out;
  // Each block takes one of so many shares of the chunks. It stores its sums in `parts` [splits, y], or,
  // in a cluster, where that is null, in shared memory.
  int splits = 1;
  float* parts = nullptr;
  int rows = 0;  // of a tile
  int row_tiles = 0, column_tiles = 0;
  Activation expanded, filtered;
  bool residual;
};

// The tile of one block: its image, its first row and column of y, and those of e that it needs
// first, which may lie outside of the image.
struct TilePlace {
  int image, p, q, row, column;
};

template <class Tile, class Work>
__device__ __forceinline__ TilePlace tile_place(const Work& work) {
  const int block = static_cast<int>(blockIdx.x) / work.splits;
  const int rest = block / work.column_tiles;
  const int q = block % work.column_tiles * kTileColumns, p = rest % work.row_tiles * work.rows;
  return {.image = rest / work.row_tiles,
          .p = p,
          .q = q,
          .row = p * Tile::kStride - work.before_h,
          .column = q * Tile::kStride - work.before_w};
}

// Pixel i of the tile's part of e.
template <class Tile>
struct HaloPixel {
  int row, column;
  __device__ HaloPixel(const TilePlace& place, int i)
      : row(place.row + i / Tile::kHalo), column(place.column + Tile::column_at(i % Tile::kHalo)) {}
  __device__ bool is_inside(int h, int w) const {
    return static_cast<unsigned>(row) < static_cast<unsigned>(h) &&
           static_cast<unsigned>(column) < static_cast<unsigned>(w);
  }
};

// x of the tile and its rim: [pixels, kXPitch].
template <class T>
struct TensorInput {
  const T* x;
  int channels;

  // Zeros outside of the image and behind the channels.
  template <class Tile, class Work>
  __device__ void load(const Work& work, const TilePlace& place, T* to) const {
    constexpr int kPerPixel = Tile::kIn / kVector;
    const T* const image = x + Index{place.image} * work.h * work.w * channels;
    const int vectors = 16 * Tile::fragments(work.rows) * kPerPixel;
    for (int i = static_cast<int>(threadIdx.x); i < vectors; i += static_cast<int>(blockDim.x)) {
      const int pixel = i / kPerPixel, channel = i % kPerPixel * kVector;
      const HaloPixel<Tile> at(place, pixel);
      const bool valid = channel < channels && at.is_inside(work.h, work.w);
      const T* const from = image + (Index{at.row} * work.w + at.column) * channels + channel;
      copy_async16(to + pixel * Tile::kXPitch + channel, valid ? from : x, valid);
    }
  }

  // Fragment A of 16 pixels and the depths from d on.
  template <class Tile>
  __device__ __forceinline__ void fragment(const T* input, int pixel, int d, int lane,
                                           std::uint32_t (&a)[4]) const {
    load_a(a, input + pixel * Tile::kXPitch + d, Tile::kXPitch, lane);
  }
};

// The normalised pixels under the windows of the tile and its rim: [rows, kPatchPitch], as they lie in
// the image.
template <class T>
struct PixelPatch {
  const std::uint8_t* pixels;
  int h, w, before_h, before_w;
  PixelAffine affine;

  // Zeros outside of the image.
  template <class Tile, class Work>
  __device__ void load(const Work& work, const TilePlace& place, T* to) const {
    constexpr int kPairs = Tile::kPatchPitch / 2;
    const int first_row = 2 * place.row - before_h, first = (2 * place.column - before_w) * 3;
    const std::uint8_t* const image = pixels + Index{place.image} * h * w * 3;
    // A thread keeps its columns, so that it knows their channels.
    const int rows_apart = static_cast<int>(blockDim.x) / kPairs;
    const int column = 2 * (static_cast<int>(threadIdx.x) % kPairs);
    const int left = column % 3, right = (column + 1) % 3;
    const bool has_left = static_cast<unsigned>(first + column) < static_cast<unsigned>(3 * w);
    const bool has_right = static_cast<unsigned>(first + column + 1) < static_cast<unsigned>(3 * w);
    const float left_scale = of_channel(affine.scale, left),
                left_shift = of_channel(affine.shift, left);
    const float right_scale = of_channel(affine.scale, right),
                right_shift = of_channel(affine.shift, right);
    const int own_row = static_cast<int>(threadIdx.x) / kPairs;
    if (own_row >= rows_apart) return;
    // So many rows are on their way together.
    constexpr int kTogether = 6;
    for (int first_r = own_row; first_r < Tile::patch_rows(work.rows);
         first_r += kTogether * rows_apart) {
      std::uint8_t values[kTogether][2];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int row = first_row + first_r + i * rows_apart;
        const bool inside = static_cast<unsigned>(row) < static_cast<unsigned>(h);
        // Without a branch, which would wait for each row: what lies outside is read elsewhere.
        const std::uint8_t* const from = image + Index{row} * w * 3 + first + column;
        values[i][0] = *(inside && has_left ? from : pixels);
        values[i][1] = *(inside && has_right ? from + 1 : pixels);
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int r = first_r + i * rows_apart;
        const bool inside = static_cast<unsigned>(first_row + r) < static_cast<unsigned>(h);
        const float x = fmaf(static_cast<float>(values[i][0]), left_scale, left_shift);
        const float y = fmaf(static_cast<float>(values[i][1]), right_scale, right_shift);
        if (r < Tile::patch_rows(work.rows))
          *reinterpret_cast<std::uint32_t*>(to + r * Tile::kPatchPitch + column) =
              pack_pair<T>(inside && has_left ? x : 0.0f, inside && has_right ? y : 0.0f);
      }
    }
  }

  // Depth 10 r + j is value j of row r of the window, j < 10; the last one meets a weight of zero, as
  // do depths 30 and 31.
  template <class Tile>
  __device__ __forceinline__ void fragment(const T* input, int pixel, int d, int lane,
                                           std::uint32_t (&a)[4]) const {
    constexpr int kRowValues = 10, kDepths = 30;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = pixel + lane / 4 + i % 2 * 8;
      const int wanted = d + lane % 4 * 2 + i / 2 * 8, depth = wanted < kDepths ? wanted : 0;
      const int row = 2 * (at / Tile::kHalo) + depth / kRowValues;
      const int column = 6 * (at % Tile::kHalo) + depth % kRowValues;
      a[i] = *reinterpret_cast<const std::uint32_t*>(input + row * Tile::kPatchPitch + column);
    }
  }
};

}  // namespace dfengine::cuda
