// A product's steps on their way through shared memory. A ring says how a step lies there and how
// it is multiplied; this one pads rows, for fragments that ldmatrix loads (pointwise_warpgroup.cu
// has the other).
#pragma once

#include "kernels/cuda/pointwise/pointwise_fragments.cuh"
#include "kernels/epilogue.h"
#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {

template <class T>
struct Product {
  const T* a;  // [rows, depth]
  const T* b;  // [columns, depth]; transposed: [depth, columns]
  Epilogue<T, float> epilogue;
  T* y;  // [rows, columns]
  int rows, columns, depth;
  NormOnLoad norm = {};  // of a
  // What count_tiles() adds; steps are of kDepth.
  int column_tiles = 0, tiles = 0, steps = 0;
};

template <class T>
Product<T> forward_product(const PointwiseProblem& p, const T* x, const T* w,
                           const Epilogue<T, float>& epilogue, const NormOnLoad& norm, T* y) {
  return {.a = x,
          .b = w,
          .epilogue = epilogue,
          .y = y,
          .rows = static_cast<int>(p.m),
          .columns = static_cast<int>(p.k),
          .depth = static_cast<int>(p.c),
          .norm = norm};
}

// Where in a block's list of steps a copy or a multiplication stands.
struct Place {
  int tile, step;
};

template <class T>
__device__ __forceinline__ void advance(const Product<T>& p, Place& place) {
  if (++place.step < p.steps) return;
  place.step = 0;
  place.tile += static_cast<int>(gridDim.x);
}

template <class Tile_, bool kTransposed>
struct PaddedRing {
  using Tile = Tile_;
  using LayoutOfA = PaddedRows<Tile::kDepth>;
  static constexpr int kAPitch = Tile::kDepth + kPad;
  static constexpr int kBPitch = (kTransposed ? Tile::kColumns : Tile::kDepth) + kPad;
  static constexpr int kA = Tile::kRows * kAPitch;
  static constexpr int kStage = kA + (kTransposed ? Tile::kDepth : Tile::kColumns) * kBPitch;
  static constexpr std::size_t kAlignment = 16;
  // A data gradient has no norm to take on load.
  static constexpr bool kNormalises = !kTransposed;

  static __device__ __forceinline__ std::byte* begin(std::byte* shared) { return shared; }

  template <class T>
  static __device__ __forceinline__ void copy(const Product<T>& p, Place place, bool with_b,
                                              T* stage) {
    const int row = place.tile / p.column_tiles * Tile::kRows;
    const int column = place.tile % p.column_tiles * Tile::kColumns;
    const int depth = place.step * Tile::kDepth;
    copy_tile<Tile::kRows, Tile::kDepth, Tile::kThreads>(p.a, row, p.rows, depth, p.depth, stage);
    if (!with_b) return;
    T* const b = stage + kA;
    if constexpr (kTransposed) {
      copy_tile<Tile::kDepth, Tile::kColumns, Tile::kThreads>(p.b, depth, p.depth, column,
                                                              p.columns, b);
    } else {
      copy_tile<Tile::kColumns, Tile::kDepth, Tile::kThreads>(p.b, column, p.columns, depth,
                                                              p.depth, b);
    }
  }

  // Before the barrier behind which a step is multiplied.
  static __device__ __forceinline__ void publish() {}

  // sums += a b of the warp's part of the ring's stage. copy_next() is called once.
  template <class T, class CopyNext>
  static __device__ __forceinline__ void multiply(const T* ring, int stage, int row, int column,
                                                  int lane, Sums<Tile>& sums,
                                                  CopyNext&& copy_next) {
    copy_next();
    const T* const a = ring + stage * kStage + row * kAPitch;
    const T* const b = ring + stage * kStage + kA;
#pragma unroll
    for (int d = 0; d < Tile::kDepth; d += 16) {
      multiply_step<T, Tile>(
          sums,
          [&](int i, std::uint32_t(&to)[4]) {
            load_a(to, a + 16 * i * kAPitch + d, kAPitch, lane);
          },
          [&](int j, std::uint32_t(&to)[4]) {
            if constexpr (kTransposed) {
              load_b_transposed(to, b + d * kBPitch + column + 16 * j, kBPitch, lane);
            } else {
              load_b(to, b + (column + 16 * j) * kBPitch + d, kBPitch, lane);
            }
          });
    }
  }
};

}  // namespace dfengine::cuda
