// The depthwise convolution inside the kernel of inverted residuals, on tensor cores: a product of
// 16 pixels of e, moved by a tap, and the diagonal matrix of the tap's weights.
#pragma once

#include "kernels/cuda/inverted_residual/inverted_residual_tile.cuh"

namespace dfengine::cuda {

// Zeros, which stay beside the diagonals of every chunk.
template <class Tile, class T>
__device__ void clear_diagonals(const ChunkWeights<Tile, T>& weights) {
  for (int i = static_cast<int>(threadIdx.x) * kVector; i < Tile::kDiagonals;
       i += static_cast<int>(blockDim.x) * kVector)
    *reinterpret_cast<uint4*>(weights.diagonals() + i) = {};
}

// A thread takes the taps that copy_weights() had it copy, so that they are there without a
// barrier.
template <class Tile, class T>
__device__ void spread_taps(const ChunkWeights<Tile, T>& weights) {
  constexpr int kHalves = Tile::kChunk / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kTaps * kHalves;
       i += static_cast<int>(blockDim.x)) {
    const int tap = i / kHalves, half = i % kHalves;
    union {
      Packed<T> packed;
      T values[8];
    } taps = {load_packed(weights.taps() + 8 * i)};
    T* const matrix =
        weights.diagonals() + (half * kTaps + tap_matrix(tap / 3, tap % 3)) * kTapMatrix;
#pragma unroll
    for (int c = 0; c < 8; ++c) matrix[9 * c] = taps.values[c];
  }
}

// [row][half]: 16 pixels of eight channels.
template <class Tile>
using FilteredRows = float[Tile::kRows][2][4];

// Where a lane finds what it needs for its warp's rows of 16 channels.
template <class Tile, class T>
class FilterPlace {
 public:
  // e: the first row of the first channels' windows.
  __device__ __forceinline__ FilterPlace(const T* e, const ChunkWeights<Tile, T>& weights, int lane)
      : left_(e + (lane % 16 + lane / 16 * Tile::place_of(1)) * Tile::kEPitch),
        right_(e + (Tile::place_of(2) + lane % 16) * Tile::kEPitch + lane / 16 * kRowPitch),
        last_(e + (Tile::place_of(2) + lane % 16) * Tile::kEPitch + lane / 16 * 8 + 2 * kRowPitch),
        taps_(weights.diagonals() + lane / 8 * kTapMatrix + lane % 8 * 8),
        single_(weights.diagonals() + 8 * kTapMatrix + 2 * lane),
        bias_(weights.filter_bias() + lane % 4 * 2) {}

  __device__ __forceinline__ void advance() {
    left_ += kGroup, right_ += kGroup, last_ += kGroup;
    taps_ += 2 * kTaps * kTapMatrix, single_ += 2 * kTaps * kTapMatrix, bias_ += kGroup;
  }

  // Biases included.
  __device__ __forceinline__ void filter(FilteredRows<Tile>& d) const {
    std::uint32_t taps[2][kTaps];
    float bias[2][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) load(half, taps[half], bias[half]);
      // The first two columns.
#pragma unroll
    for (int i = 0; i < kInputRows; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        std::uint32_t a[4];
        load_matrices(a, left_ + i * kRowPitch + 8 * half);
#pragma unroll
        for (int r = 0; r < Tile::kRows; ++r) {
          const int row = i - r * Tile::kStride;
          if (is_tap(row))
            mma_16x8x16<T>(d[r][half], a, {taps[half][2 * row], taps[half][2 * row + 1]},
                           row == 0 ? bias[half] : d[r][half]);
        }
      }
      // The third, of two rows at a time, and of a last one both halves of the channels.
#pragma unroll
    for (int i = 0; i + 1 < kInputRows; i += 2)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        std::uint32_t a[4];
        load_matrices(a, right_ + i * kRowPitch + 8 * half);
#pragma unroll
        for (int r = 0; r < Tile::kRows; ++r)
          add_third(a, taps[half], i - r * Tile::kStride, d[r][half]);
      }
    if constexpr (kInputRows % 2 == 1) {
      static_assert(Tile::kRows == 1);
      std::uint32_t a[4];
      load_matrices(a, last_);
#pragma unroll
      for (int half = 0; half < 2; ++half)
        mma_16x8x8<T>(d[0][half], a[2 * half], a[2 * half + 1], taps[half][8], d[0][half]);
    }
  }

 private:
  static constexpr int kInputRows = (Tile::kRows - 1) * Tile::kStride + 3;
  static constexpr int kRowPitch = Tile::kHalo * Tile::kEPitch;
  static constexpr bool is_tap(int row) {
    return row >= 0 && row < 3;
  }

  __device__ __forceinline__ void load(int half, std::uint32_t (&taps)[kTaps],
                                       float (&bias)[4]) const {
    const int matrices = half * kTaps * kTapMatrix;
#pragma unroll
    for (int i = 0; i < 8; i += 4) {
      std::uint32_t four[4];
      load_matrices(four, taps_ + matrices + i * kTapMatrix);
#pragma unroll
      for (int j = 0; j < 4; ++j) taps[i + j] = four[j];
    }
    taps[8] = *reinterpret_cast<const std::uint32_t*>(single_ + matrices);
    const float2 pair = *reinterpret_cast<const float2*>(bias_ + 8 * half);
    bias[0] = bias[2] = pair.x;
    bias[1] = bias[3] = pair.y;
  }

  // a: the pixels under the third column of two rows, of which the first meets row `row` of the
  // window.
  static __device__ __forceinline__ void add_third(const std::uint32_t (&a)[4],
                                                   const std::uint32_t (&taps)[kTaps], int row,
                                                   float (&sum)[4]) {
    if (is_tap(row) && is_tap(row + 1))
      mma_16x8x16<T>(sum, a, {taps[6 + row], taps[7 + row]});
    else if (is_tap(row))
      mma_16x8x8<T>(sum, a[0], a[1], taps[6 + row], sum);
    else if (is_tap(row + 1))
      mma_16x8x8<T>(sum, a[2], a[3], taps[7 + row], sum);
  }

  const T* left_;   // the pixels under the first two columns, one for each half of the lanes
  const T* right_;  // those under the third, of two rows
  const T* last_;   // those under the third, of the last row
  const T* taps_;
  const T* single_;  // the tap that is left over
  const float* bias_;
};

}  // namespace dfengine::cuda
