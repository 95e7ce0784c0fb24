#include "tests/ptx/instructions/tensor_core.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/ptx/instructions/halves.h"
#include "tests/ptx/instructions/memory.h"
#include "tests/ptx/instructions/traffic.h"
#include "tests/ptx/instructions/warp_wide.h"
#include "tests/ptx/settings.h"

namespace dfengine::ptx {
namespace {

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type" (and "mma.m16n8k8", whose
// fragments are their first halves): groupID is lane / 4, threadID_in_group lane % 4, and element e
// lies at row and column
//   a: groupID + 8 for e = 2, 3, 6, 7;  2 threadID + e % 2, + 8 for e >= 4
//   b: 2 threadID + e % 2, + 8 for e >= 2;  groupID
//   c: as row_of_c and column_of_c say
int row_of_a(int lane, int e) {
  return lane / 4 + (e / 2 % 2 == 1 ? 8 : 0);
}
int column_of_a(int lane, int e) {
  return lane % 4 * 2 + e % 2 + (e >= 4 ? 8 : 0);
}
int row_of_b(int lane, int e) {
  return lane % 4 * 2 + e % 2 + (e >= 2 ? 8 : 0);
}

// Half e of the 16-bit values that registers from `first` on hold in pairs.
std::uint16_t half(Warp& warp, const Instruction& i, int first, int e, int lane) {
  const Slot slot = i.from[static_cast<std::size_t>(first + e / 2)];
  return static_cast<std::uint16_t>(warp.cells<std::uint32_t>(slot)[lane] >> (16 * (e % 2)));
}

template <float (*Value)(std::uint16_t)>
void gather(Warp& warp, const Instruction& i, Tile& tile) {
  const int depth = i.mode, first_of_b = depth / 4, first_of_c = first_of_b + depth / 8;
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int e = 0; e < depth / 2; ++e)
      tile.a[row_of_a(lane, e)][column_of_a(lane, e)] = Value(half(warp, i, 0, e, lane));
    for (int e = 0; e < depth / 4; ++e)
      tile.b[row_of_b(lane, e)][lane / 4] = Value(half(warp, i, first_of_b, e, lane));
    for (int e = 0; e < 4; ++e)
      tile.c[row_of_c(lane, e)][column_of_c(lane, e)] =
          warp.cells<float>(i.from[static_cast<std::size_t>(first_of_c + e)])[lane];
  }
}

float towards_zero(double value) {
  const auto near = static_cast<float>(value);
  if (!std::isfinite(near) || std::abs(static_cast<double>(near)) <= std::abs(value)) return near;
  return std::nextafter(near, 0.0f);
}

// Tensor cores add the products and c with more bits than a float has and cut the sum off (Fasi,
// Higham, Mikaitis and Pranesh 2021, "Numerical behavior of NVIDIA tensor cores"): here one cut of
// the exact sum.
void multiply_truncating(Tile& tile) {
  for (int row = 0; row < kTileRows; ++row) {
    double sums[kTileColumns];
    for (int n = 0; n < kTileColumns; ++n) sums[n] = tile.c[row][n];
    for (int k = 0; k < kTileDepth; ++k)
      for (int n = 0; n < kTileColumns; ++n)
        sums[n] += static_cast<double>(tile.a[row][k]) * static_cast<double>(tile.b[k][n]);
    for (int n = 0; n < kTileColumns; ++n) tile.c[row][n] = towards_zero(sums[n]);
  }
}

void multiply_rounding(Tile& tile) {
  for (int row = 0; row < kTileRows; ++row)
    for (int k = 0; k < kTileDepth; ++k)
      for (int n = 0; n < kTileColumns; ++n) tile.c[row][n] += tile.a[row][k] * tile.b[k][n];
}

template <float (*Value)(std::uint16_t)>
void multiply_fragments(Warp& warp, const Instruction& i, Lanes mask) {
  check_whole_warp(warp, mask);
  count_product(warp, i.mode);
  Tile tile = {};
  gather<Value>(warp, i, tile);
  multiply(tile);
  for (int lane = 0; lane < kLanes; ++lane)
    for (int e = 0; e < 4; ++e)
      warp.cells<float>(i.to[static_cast<std::size_t>(e)])[lane] =
          tile.c[row_of_c(lane, e)][column_of_c(lane, e)];
}

// A row of eight 16-bit values.
constexpr int kRowBytes = 16;
using MatrixRow = std::array<std::uint16_t, 8>;

}  // namespace

void multiply(Tile& tile) {
  if (settings().truncating) {
    multiply_truncating(tile);
  } else {
    multiply_rounding(tile);
  }
}

void multiply_f16(Warp& warp, const Instruction& i, Lanes mask) {
  multiply_fragments<from_half>(warp, i, mask);
}

void multiply_bf16(Warp& warp, const Instruction& i, Lanes mask) {
  multiply_fragments<from_bfloat>(warp, i, mask);
}

// PTX ISA, "ldmatrix": lanes 8 m to 8 m + 7 name the rows of matrix m; lane l gets elements 2 (l %
// 4) and the next of row l / 4, with .trans of column l / 4.
void load_matrix(Warp& warp, const Instruction& i, Lanes mask) {
  check_whole_warp(warp, mask);
  std::array<std::array<std::uint32_t, kLanes>, 4> loaded{};
  for (int m = 0; m < i.vector; ++m) {
    std::array<MatrixRow, 8> rows{};
    Request request(warp, false);
    for (int r = 0; r < 8; ++r) {
      const std::uint64_t offset =
          warp.cells<std::uint32_t>(i.from[0])[8 * m + r] + static_cast<std::uint64_t>(i.immediate);
      if (!check_shared(warp, offset, kRowBytes, false)) continue;
      request.add(8 * m + r, warp.block->shared + offset, kRowBytes);
      std::memcpy(&rows[static_cast<std::size_t>(r)], warp.block->shared + offset, kRowBytes);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto along = static_cast<std::size_t>(lane % 4 * 2),
                 across = static_cast<std::size_t>(lane / 4);
      const std::uint32_t low = i.mode != 0 ? rows[along][across] : rows[across][along];
      const std::uint32_t high = i.mode != 0 ? rows[along + 1][across] : rows[across][along + 1];
      loaded[static_cast<std::size_t>(m)][static_cast<std::size_t>(lane)] = high << 16 | low;
    }
  }
  // Only now, because a destination may hold the addresses.
  for (std::size_t m = 0; m < static_cast<std::size_t>(i.vector); ++m)
    std::copy(loaded.at(m).begin(), loaded.at(m).end(), warp.cells<std::uint32_t>(i.to.at(m)));
}

}  // namespace dfengine::ptx
