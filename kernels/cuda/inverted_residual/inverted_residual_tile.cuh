// How the kernel of inverted residual blocks cuts its work and lays out shared memory.
#pragma once

#include <algorithm>

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/inverted_residual.h"

namespace dfengine::cuda {

// Columns of y that a block makes: the rows of a fragment.
constexpr int kTileColumns = 16;
constexpr int kMostWarps = 8;
// Matrices of shared memory have rows of an odd multiple of 16 bytes, so that the eight rows that
// ldmatrix reads or fragments write lie in different banks.
constexpr int kRowPad = 8;
constexpr int kTaps = static_cast<int>(DepthwiseProblem::kTaps);
// Channels that are filtered at a time, in halves of eight: a half's taps are diagonal matrices of
// 8 x 8 values in shared memory, apart so that threads that write diagonals meet different banks.
// First those of the first two columns of the window, row after row, which are two depths of one
// product; then those of the third.
constexpr int kGroup = 16, kTapMatrix = 64 + kRowPad;
constexpr int tap_matrix(int row, int column) {
  return column < 2 ? 2 * row + column : 6 + row;
}
// An expansion's bias is a product as well: of ones and the parts that it is the sum of, so that
// their rounding is that of a float.
constexpr int kBiasDepths = 8, kBiasParts = 3;

// Of what is stored on the way. Zero as its lower bound is what a conversion takes; without an
// upper one the filter's zeros would make NaN of an infinity.
constexpr Activation kActivation = Activation::Relu6;

// A kernel for at most In and Out channels. A warp makes Rows rows of y: more of them load taps,
// and the rows of e between them, less often, and need more registers for sums. Chunk expanded
// channels are under way at a time: six times a multiple of 8 is a multiple of 48. Pixels: the
// stem's instead of an expansion.
template <int In, int Out, int Stride, int Rows, int Chunk = 48, bool Pixels = false>
struct BlockTile {
  static constexpr int kIn = In, kOut = Out, kStride = Stride, kRows = Rows, kChunk = Chunk;
  static constexpr bool kPixels = Pixels;
  // Blocks of a multiprocessor, for which registers are kept free. With pixels a third one is worth
  // the few registers that spill (7 % on an H100); with 64 channels it was not (30 % slower). At
  // stride 2 the input and e of 96 channels leave no room for a second one.
  static constexpr int kBlocks = Pixels && Out == 16                     ? 3
                                 : Out > 96 || (Stride == 2 && In == 96) ? 1
                                                                         : 2;
  // The columns of e that a tile needs.
  static constexpr int kHalo = (kTileColumns - 1) * Stride + 3;

  static constexpr int kXPitch = In + kRowPad, kEPitch = Chunk + kRowPad;
  static constexpr int kOutPitch = Out + kRowPad;
  // A row of pixels that the columns of e need, and one value more, as a window reads an even
  // number.
  static constexpr int kPatchPitch = (2 * kHalo + 1) * 3 + 1;

  // The weights of a chunk, in elements of 16 bits: those of the expansion, and the others.
  static constexpr int kExpand = Chunk * kXPitch;
  static constexpr int kProject = Out * kEPitch, kFilterBias = 2 * Chunk;
  static constexpr int kExpandWeights = kExpand + Chunk * kBiasDepths;
  static constexpr int kOtherWeights = kTaps * Chunk + kProject + kFilterBias;
  static constexpr int kWeights = kExpandWeights + kOtherWeights;
  static constexpr int kDiagonals = kTaps * Chunk / 8 * kTapMatrix;

  // Where the expansion's weights have depth d. A window's rows lie the same distance apart in
  // every lane's values: eight values of each, and then the last two of each.
  __host__ __device__ static constexpr int place_of_depth(int d) {
    constexpr int kRowValues = 10;
    if (!Pixels || d >= 3 * kRowValues) return d;
    const int row = d / kRowValues, value = d % kRowValues;
    return value < 8 ? 8 * row + value : 24 + 2 * row + value - 8;
  }

  // For so many rows of y: the rows of e, its pixels in whole fragments, the elements of the input.
  __host__ __device__ static constexpr int halo_rows(int rows) { return (rows - 1) * Stride + 3; }
  __host__ __device__ static constexpr int fragments(int rows) {
    return (halo_rows(rows) * kHalo + 15) / 16;
  }
  __host__ __device__ static constexpr int patch_rows(int rows) {
    return 2 * ((16 * fragments(rows) + kHalo - 1) / kHalo) + 1;
  }
  __host__ __device__ static constexpr int input_elements(int rows) {
    // In whole vectors, behind which e begins.
    return Pixels ? (patch_rows(rows) * kPatchPitch + 7) / 8 * 8 : 16 * fragments(rows) * kXPitch;
  }
  static constexpr int shared_bytes(int rows, bool cluster = false) {
    // Behind the input lie e, the weights and the diagonals; in the end, in their place, the rows
    // that warps store.
    const int last = rows / kRows * kTileColumns * kOutPitch;
    const int work = 2 * (input_elements(rows) +
                          std::max(16 * fragments(rows) * kEPitch + kWeights + kDiagonals, last));
    const int sums = 4 * rows * kTileColumns * kOutPitch;  // that the others of a cluster read
    return cluster && sums > work ? sums : work;
  }

  // Where a row of e has its column. At stride 2 the even ones come first, so that the columns of
  // one tap lie side by side.
  __host__ __device__ static constexpr int place_of(int column) {
    return Stride == 1 ? column : column % 2 * ((kHalo + 1) / 2) + column / 2;
  }
  __host__ __device__ static constexpr int column_at(int place) {
    if (Stride == 1) return place;
    constexpr int kEven = (kHalo + 1) / 2;
    return place < kEven ? 2 * place : 2 * (place - kEven) + 1;
  }
};

// The weights of a chunk, in host memory or in shared memory.
template <class Tile, class T>
struct ChunkWeights {
  T* base;
  __host__ __device__ T* expand() const { return base; }  // [Chunk, kXPitch]
  __host__ __device__ T* expand_bias() const {
    return base + Tile::kExpand;
  }  // [Chunk, kBiasDepths]
  __host__ __device__ T* others() const { return base + Tile::kExpandWeights; }
  __host__ __device__ T* taps() const { return others(); }  // [kTaps, Chunk]
  __host__ __device__ T* project() const {
    return others() + kTaps * Tile::kChunk;
  }  // [Out, kEPitch]
  __host__ __device__ float* filter_bias() const {
    return reinterpret_cast<float*>(project() + Tile::kProject);
  }
  // In shared memory alone, [Chunk / 8, kTaps, 8, 8]: what the taps become.
  __device__ T* diagonals() const { return base + Tile::kWeights; }
};

// Calls body(Tile) for the smallest tile that takes the problem; false where there is none.
template <class Body>
bool with_tile(const InvertedResidualProblem& p, Body&& body) {
  const auto use = [&](auto tile) {
    body(tile);
    return true;
  };
  const bool one = p.depthwise.stride == 1;
  if (p.in % kVector != 0 || p.out % kVector != 0 || p.depthwise.c % kVector != 0) return false;
  if (p.residual && (!one || p.in != p.out || p.pixels)) return false;
  // A place in an image is counted in an int, and so is one in rows below it.
  constexpr Index kMostValues = Index{1} << 30;
  const Index values = p.pixels ? p.pixels->stem.h * p.pixels->stem.w * StemProblem::kChannels
                                : p.depthwise.h * p.depthwise.w * p.in;
  if (std::max(values, p.depthwise.p * p.depthwise.q * p.out) > kMostValues) return false;
  if (p.expanded != kActivation || p.filtered != kActivation) return false;
  if (p.pixels) {
    constexpr int kDepth = PixelInput::kDepth;
    if (!one || p.out > 32 || p.pixels->stem.stride != 2) return false;
    return p.out <= 16 ? use(BlockTile<kDepth, 16, 1, 2, 32, true>{})
                       : use(BlockTile<kDepth, 32, 1, 2, 32, true>{});
  }
  if (p.in <= 16 && p.out <= 32)
    return one ? use(BlockTile<16, 32, 1, 2>{}) : use(BlockTile<16, 32, 2, 1>{});
  if (p.in <= 32 && p.out <= 32)
    return one ? use(BlockTile<32, 32, 1, 2>{}) : use(BlockTile<32, 32, 2, 1>{});
  if (p.in <= 64 && p.out <= 64)
    return one ? use(BlockTile<64, 64, 1, 2>{}) : use(BlockTile<64, 64, 2, 1>{});
  if (p.in <= 96 && p.out <= 96)
    return one ? use(BlockTile<96, 96, 1, 1>{}) : use(BlockTile<96, 96, 2, 1>{});
  if (one && p.in <= 160 && p.out <= 160) return use(BlockTile<160, 160, 1, 1>{});
  if (one && p.in <= 160 && p.out <= 320) return use(BlockTile<160, 320, 1, 1>{});
  if (!one && p.in <= 96 && p.out <= 160) return use(BlockTile<96, 160, 2, 1>{});
  return false;
}

}  // namespace dfengine::cuda
