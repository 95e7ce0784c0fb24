// How the kernel of inverted residual blocks lays out its shared memory.
#pragma once

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/inverted_residual.h"

namespace dfengine::cuda {

// Columns of y that a block makes: a fragment's rows.
constexpr int kTileColumns = 16;
constexpr int kMostWarps = 8;

// Matrices of shared memory have rows of an odd multiple of 16 bytes, so that the eight rows that
// ldmatrix reads or fragments write lie in different banks.
constexpr int kRowPad = 8;
// The projection's weights are read in pieces of 8 bytes, for which this pitch does the same.
constexpr int kProjectPitch = 48;

// A kernel for at most In and Out channels. Chunk expanded channels are under way at a time.
template <int In, int Out, int Stride, int Chunk>
struct BlockTile {
  static constexpr int kIn = In, kOut = Out, kStride = Stride, kChunk = Chunk;
  // Rows of y that one warp makes. Two share the loads of the taps and of two rows of e; more sums
  // than these do not fit into the registers.
  static constexpr int kRows = Stride == 1 && Out <= 32 ? 2 : 1;
  static constexpr int kInputRows = (kRows - 1) * Stride + 3;  // of e, for one warp
  // The columns of e that a tile needs.
  static constexpr int kHalo = (kTileColumns - 1) * Stride + 3;

  static constexpr int kXPitch = In + kRowPad, kEPitch = kChunk + kRowPad;
  static constexpr int kOutPitch = Out + kRowPad;
  // The weights of a chunk, in elements of 16 bits.
  static constexpr int kExpand = kChunk * kXPitch, kTaps = 9 * kChunk,
                       kProject = Out * kProjectPitch;
  static constexpr int kBiases = 2 * 2 * kChunk;
  static constexpr int kWeights = kExpand + kTaps + kProject + kBiases;

  // Pixels of e for so many rows of y, in whole fragments.
  __host__ __device__ static constexpr int halo_rows(int rows) { return (rows - 1) * Stride + 3; }
  __host__ __device__ static constexpr int fragments(int rows) {
    return (halo_rows(rows) * kHalo + 15) / 16;
  }
  static constexpr int shared_bytes(int rows) {
    return 2 * (16 * fragments(rows) * (kXPitch + kEPitch) + 2 * kWeights);
  }
};

// The weights of a chunk in shared memory.
template <class Tile, class T>
struct ChunkWeights {
  T* base;
  __device__ T* expand() const { return base; }                // [kChunk, In]
  __device__ T* taps() const { return base + Tile::kExpand; }  // [9, kChunk]
  __device__ T* project() const {
    return base + Tile::kExpand + Tile::kTaps;
  }  // [Out, kProjectPitch]
  __device__ float* expand_bias() const {
    return reinterpret_cast<float*>(project() + Tile::kProject);
  }
  __device__ float* depthwise_bias() const { return expand_bias() + Tile::kChunk; }
};

// Four neighbouring channels, of two registers.
template <class T>
__device__ __forceinline__ void load4(const T* p, float (&v)[4]) {
  union {
    uint2 words;
    T values[4];
  } u = {*reinterpret_cast<const uint2*>(p)};
#pragma unroll
  for (int i = 0; i < 4; ++i) v[i] = to_float(u.values[i]);
}

}  // namespace dfengine::cuda
