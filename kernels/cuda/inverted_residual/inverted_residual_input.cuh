// What the blocks of the kernel of inverted residuals work on: their tiles, and how these get their
// input.
#pragma once

#include "kernels/cuda/inverted_residual/inverted_residual.cuh"

namespace dfengine::cuda {

template <class T, class Input>
struct BlockWork {
  using Value = T;
  Input input;
  InvertedResidualWeights<T> weights;
  T* y;
  int h, w, p, q, before_h, before_w;
  int in, wide, out;
  int rows = 0;  // of a tile
  int row_tiles = 0, column_tiles = 0;
  Activation expanded, filtered;
  bool residual;
};

// The tile of one block: its image, its first row and column of y, and those of e and x that it
// needs first, which may lie outside of the image.
struct TilePlace {
  int image, p, q, row, column;
};

template <class Tile, class Work>
__device__ __forceinline__ TilePlace tile_place(const Work& work) {
  const auto block = static_cast<int>(blockIdx.x);
  const int rest = block / work.column_tiles;
  const int q = block % work.column_tiles * kTileColumns, p = rest % work.row_tiles * work.rows;
  return {.image = rest / work.row_tiles,
          .p = p,
          .q = q,
          .row = p * Tile::kStride - work.before_h,
          .column = q * Tile::kStride - work.before_w};
}

// Whether pixel i of the tile's part of e lies in the image.
template <class Tile, class Work>
__device__ __forceinline__ bool is_inside(const Work& work, const TilePlace& place, int i) {
  return static_cast<unsigned>(place.row + i / Tile::kHalo) < static_cast<unsigned>(work.h) &&
         static_cast<unsigned>(place.column + i % Tile::kHalo) < static_cast<unsigned>(work.w);
}

// What a block holds of its input: [pixels, In] for the tile and its rim.
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
      const int row = place.row + pixel / Tile::kHalo, column = place.column + pixel % Tile::kHalo;
      const bool valid = channel < channels && is_inside<Tile>(work, place, pixel);
      const T* const from = image + (Index{row} * work.w + column) * channels + channel;
      copy_async16(to + pixel * Tile::kXPitch + channel, valid ? from : x, valid);
    }
  }
};

// For each pixel of e the window of the normalised image that the stem multiplies, a row of it at
// PixelInput::depth(r, 0, 0).
template <class T>
struct PixelWindows {
  const std::uint8_t* pixels;
  int h, w, before_h, before_w;
  PixelAffine affine;

  template <class Tile, class Work>
  __device__ void load(const Work& work, const TilePlace& place, T* to) const {
    constexpr int kRowValues = 10, kTaps = 3;
    const std::uint8_t* const image = pixels + Index{place.image} * h * w * 3;
    const int rows = 16 * Tile::fragments(work.rows) * kTaps;
    for (int i = static_cast<int>(threadIdx.x); i < rows; i += static_cast<int>(blockDim.x)) {
      const int pixel = i / kTaps, r = i % kTaps;
      const int row = 2 * (place.row + pixel / Tile::kHalo) - before_h + r;
      const int column = 2 * (place.column + pixel % Tile::kHalo) - before_w;
      float v[kRowValues] = {};
#pragma unroll
      for (int s = 0; s < kTaps; ++s) {
        if (static_cast<unsigned>(row) >= static_cast<unsigned>(h) ||
            static_cast<unsigned>(column + s) >= static_cast<unsigned>(w))
          continue;
#pragma unroll
        for (int c = 0; c < 3; ++c)
          v[3 * s + c] = fmaf(static_cast<float>(image[(Index{row} * w + column + s) * 3 + c]),
                              affine.scale[c], affine.shift[c]);
      }
      auto* const at =
          reinterpret_cast<std::uint32_t*>(to + pixel * Tile::kXPitch + kRowValues * r);
#pragma unroll
      for (int j = 0; j < kRowValues / 2; ++j) at[j] = pack_pair<T>(v[2 * j], v[2 * j + 1]);
      if (r == kTaps - 1) at[kRowValues / 2] = 0;  // depths 30 and 31
    }
  }
};

}  // namespace dfengine::cuda
