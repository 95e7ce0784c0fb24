// Tiles of 16-bit matrices in shared memory: their copies in, and their fragments for mma.
#pragma once

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/norm_on_load.cuh"
#include "kernels/cuda/pointwise/pointwise_tiles.cuh"

namespace dfengine::cuda {

// Shared rows are padded by 16 bytes: an odd multiple of 16 apart, the eight rows of a matrix that
// ldmatrix reads lie in different banks.
constexpr int kPad = 8;

// The vectors of 8 of a tile kRows x kColumns that one thread copies. Where the threads make up
// whole rows, they lie below each other.
template <int kRows, int kColumns, int kThreads>
struct OwnVectors {
  static constexpr int kPerRow = kColumns / kVector, kVectors = kRows * kPerRow;
  static constexpr bool kOneColumn = kThreads % kPerRow == 0;
  static constexpr int kRowsApart = kThreads / kPerRow;
};

// Calls body(row, column) for each of this thread's vectors.
template <int kRows, int kColumns, int kThreads, class Body>
__device__ __forceinline__ void for_each_own_vector(Body&& body) {
  using Own = OwnVectors<kRows, kColumns, kThreads>;
  const int thread = static_cast<int>(threadIdx.x);
  // Unrolled, their addresses would only take the registers that the sums need.
  if constexpr (Own::kOneColumn) {
    const int column = thread % Own::kPerRow * kVector;
#pragma unroll 1
    for (int row = thread / Own::kPerRow; row < kRows; row += Own::kRowsApart) body(row, column);
  } else {
#pragma unroll 1
    for (int i = thread; i < Own::kVectors; i += kThreads)
      body(i / Own::kPerRow, i % Own::kPerRow * kVector);
  }
}

// Starts copying kRows x kColumns from (row, column) of a matrix [rows, columns] into shared memory
// with rows of kColumns + kPad. Outside the matrix there are zeros. columns is a multiple of 8.
template <int kRows, int kColumns, int kThreads, class T>
__device__ __forceinline__ void copy_tile(const T* matrix, int row, int rows, int column,
                                          int columns, T* to) {
  using Own = OwnVectors<kRows, kColumns, kThreads>;
  constexpr int kPitch = kColumns + kPad;
  if constexpr (Own::kOneColumn) {
    const int own = static_cast<int>(threadIdx.x) % Own::kPerRow * kVector;
    const int valid_rows = column + own < columns ? rows - row : 0;
    matrix += Index{row} * columns + (column + own);
    for_each_own_vector<kRows, kColumns, kThreads>([&](int r, int c) {
      copy_async16(to + r * kPitch + c, matrix + Index{r} * columns, r < valid_rows);
    });
  } else {
    for_each_own_vector<kRows, kColumns, kThreads>([&](int r, int c) {
      const bool valid = row + r < rows && column + c < columns;
      copy_async16(to + r * kPitch + c, matrix + Index{row + r} * columns + column + c, valid);
    });
  }
}

// Where copy_tile puts a vector of a tile with so many columns.
template <int kColumns>
struct PaddedRows {
  static __device__ __forceinline__ int place(int row, int column) {
    return row * (kColumns + kPad) + column;
  }
};

// Applies the norm of the matrix's columns to what this same thread has copied into a tile that
// lies as Layout says: its own copies have landed, and a barrier has still to show them to the
// others. What lies outside the matrix stays zero. Tile is that of the results; where its sums
// leave room in the registers, the norm of a thread's columns is loaded once.
template <int kRows, int kColumns, class Tile, class Layout = PaddedRows<kColumns>, class T>
__device__ __forceinline__ void normalise_tile(const NormOnLoad& norm, int row, int rows,
                                               int column, int columns, T* tile) {
  constexpr int kPerRow = kColumns / kVector;
  constexpr bool kHasRoom = Tile::kFragmentRows * Tile::kFragmentColumns * 4 <= 32;
  const auto for_each = [&](auto&& apply) {
    for_each_own_vector<kRows, kColumns, Tile::kThreads>([&](int r, int c) {
      if (row + r >= rows || column + c >= columns) return;
      T* const at = tile + Layout::place(r, c);
      Packed<T> x = load_packed(at);
      apply(column + c, x);
      store_packed(at, x);
    });
  };
  if constexpr (kHasRoom && Tile::kThreads % kPerRow == 0) {
    const int own = column + static_cast<int>(threadIdx.x) % kPerRow * kVector;
    if (own >= columns) return;
    const LoadedNorm loaded(norm, own);
    for_each([&](int, Packed<T>& x) { loaded.apply(x); });
  } else {
    for_each([&](int channel, Packed<T>& x) { UnloadedNorm{norm, channel}.apply(x); });
  }
}

// The results that one warp holds, in fragments.
template <class Tile>
using Sums = float[Tile::kFragmentRows][Tile::kFragmentColumns][4];

// sums += a b over one depth of 16. load_a_at(i, a) and load_b_at(j, b) fetch the i-th 16 rows and
// the j-th 16 columns.
template <class T, class Tile, class LoadA, class LoadB>
__device__ __forceinline__ void multiply_step(Sums<Tile>& sums, LoadA&& load_a_at,
                                              LoadB&& load_b_at) {
  std::uint32_t a[Tile::kFragmentRows][4];
#pragma unroll
  for (int i = 0; i < Tile::kFragmentRows; ++i) load_a_at(i, a[i]);
#pragma unroll
  for (int j = 0; j < Tile::kFragmentColumns / 2; ++j) {
    std::uint32_t b[4];
    load_b_at(j, b);
    const std::uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
    for (int i = 0; i < Tile::kFragmentRows; ++i) {
      mma_16x8x16<T>(sums[i][2 * j], a[i], left);
      mma_16x8x16<T>(sums[i][2 * j + 1], a[i], right);
    }
  }
}

}  // namespace dfengine::cuda
