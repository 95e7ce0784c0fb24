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
  // Each block takes one of so many shares of the chunks. It stores its sums in `parts` [splits,
  // y], or, in a cluster, where that is null, in shared memory.
  int splits = 1;
  float* parts = nullptr;
  int rows = 0;  // of a tile
  int row_tiles = 0, column_tiles = 0;
  bool residual;
};

// The tile of one block: its image, its first row and column of y, and those of e that it needs
// first, which may lie outside of the image.
struct TilePlace {
  int image, p, q, row, column;
};

template <class Tile, bool kSplit, class Work>
__device__ __forceinline__ TilePlace tile_place(const Work& work) {
  // Unsigned, as divisions by numbers with a sign take longer.
  const unsigned columns = static_cast<unsigned>(work.column_tiles);
  const unsigned rows = static_cast<unsigned>(work.row_tiles);
  const unsigned block = kSplit ? blockIdx.x / static_cast<unsigned>(work.splits) : blockIdx.x;
  const unsigned rest = block / columns;
  const int q = static_cast<int>(block % columns) * kTileColumns;
  const int p = static_cast<int>(rest % rows) * work.rows;
  return {.image = static_cast<int>(rest / rows),
          .p = p,
          .q = q,
          .row = p * Tile::kStride - work.before_h,
          .column = q * Tile::kStride - work.before_w};
}

// Goes over pixels i, i + step, ... of the tile's part of e. Divides once: a pixel's own place
// would cost more than what is done there.
template <class Tile>
class HaloWalk {
 public:
  __device__ __forceinline__ HaloWalk(const TilePlace& place, int i, int step)
      : row_(place.row + i / Tile::kHalo),
        at_(i % Tile::kHalo),
        first_column_(place.column),
        row_step_(step / Tile::kHalo),
        step_(step % Tile::kHalo) {}
  __device__ __forceinline__ void advance() {
    row_ += row_step_;
    at_ += step_;
    if (at_ >= Tile::kHalo) at_ -= Tile::kHalo, ++row_;
  }
  __device__ __forceinline__ int row() const { return row_; }
  __device__ __forceinline__ int column() const { return first_column_ + Tile::column_at(at_); }
  __device__ __forceinline__ bool is_inside(int h, int w) const {
    // Without a branch.
    const int in_rows = static_cast<unsigned>(row()) < static_cast<unsigned>(h) ? w : 0;
    return static_cast<unsigned>(column()) < static_cast<unsigned>(in_rows);
  }

 private:
  int row_, at_, first_column_, row_step_, step_;
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
    const int step = static_cast<int>(blockDim.x) / kPerPixel;
    const int first = static_cast<int>(threadIdx.x) / kPerPixel;
    if (first >= step) return;
    const int channel = static_cast<int>(threadIdx.x) % kPerPixel * kVector;
    const T* const image = x + Index{place.image} * work.h * work.w * channels + channel;
    const int rows = channel < channels ? work.h : 0;
    HaloWalk<Tile> at(place, first, step);
    for (int pixel = first; pixel < 16 * Tile::fragments(work.rows); pixel += step, at.advance()) {
      const bool valid = at.is_inside(rows, work.w);
      const int from = valid ? (at.row() * work.w + at.column()) * channels : 0;
      copy_async16(to + pixel * Tile::kXPitch + channel, image + from, valid);
    }
  }

  // Fragment A of 16 pixels and the depths from d on.
  template <class Tile>
  __device__ __forceinline__ void fragment(const T* input, int pixel, int d, int lane,
                                           std::uint32_t (&a)[4]) const {
    load_a(a, input + pixel * Tile::kXPitch + d, Tile::kXPitch, lane);
  }
};

// The normalised pixels under the windows of the tile and its rim: [rows, kPatchPitch], as they lie
// in the image.
template <class T>
struct PixelPatch {
  const std::uint8_t* pixels;
  Index images;
  int h, w, before_h, before_w;
  PixelAffine affine;

  // Zeros outside of the image. A thread keeps its columns, so that it knows their channels.
  template <class Tile, class Work>
  __device__ void load(const Work& work, const TilePlace& place, T* to) const {
    constexpr int kQuads = Tile::kPatchPitch / 4;
    static_assert(Tile::kPatchPitch % 4 == 0);
    const int step = static_cast<int>(blockDim.x) / kQuads;
    const int first = static_cast<int>(threadIdx.x) / kQuads;
    if (first >= step) return;
    const int column = static_cast<int>(threadIdx.x) % kQuads * 4;
    const int first_row = 2 * place.row - before_h;
    const int left = (2 * place.column - before_w) * 3 + column;  // among the values of a row
    const Index bytes = Index{h} * w * 3;
    const ImageBytes image(pixels, images * bytes, place.image * bytes);
    float scale[3], shift[3];
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      scale[c] = of_channel(affine.scale, (column + c) % 3);
      shift[c] = of_channel(affine.shift, (column + c) % 3);
    }
    // So many rows are on their way together.
    constexpr int kTogether = 5;
    for (int r = first; r < Tile::patch_rows(work.rows); r += kTogether * step) {
      std::uint32_t values[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i)
        values[i] = image.four((first_row + r + i * step) * w * 3 + left);
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int row = r + i * step;
        if (row >= Tile::patch_rows(work.rows)) break;
        const bool inside = static_cast<unsigned>(first_row + row) < static_cast<unsigned>(h);
        float v[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const float value = static_cast<float>(values[i] >> 8 * j & 0xFFU);
          const bool valid =
              inside && static_cast<unsigned>(left + j) < static_cast<unsigned>(3 * w);
          v[j] = valid ? fmaf(value, scale[j % 3], shift[j % 3]) : 0.0f;
        }
        *reinterpret_cast<uint2*>(to + row * Tile::kPatchPitch + column) = {
            pack_pair<T>(v[0], v[1]), pack_pair<T>(v[2], v[3])};
      }
    }
  }

  // As place_of_depth() has the depths. The last two meet weights of zero.
  template <class Tile>
  __device__ __forceinline__ void fragment(const T* input, int pixel, int d, int lane,
                                           std::uint32_t (&a)[4]) const {
    const int g = lane / 4, t = lane % 4;
    const int last_pairs = t % 3 * Tile::kPatchPitch + 8;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = pixel + g + i % 2 * 8, row = d / 8 + i / 2;
      const T* const window =
          input + 2 * (at / Tile::kHalo) * Tile::kPatchPitch + 6 * (at % Tile::kHalo);
      a[i] = *reinterpret_cast<const std::uint32_t*>(
          window + (row < 3 ? row * Tile::kPatchPitch + 2 * t : last_pairs));
    }
  }
};

}  // namespace dfengine::cuda
