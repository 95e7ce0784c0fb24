// The matrix products behind the pointwise convolution, one table per instruction set.
#pragma once

#include "kernels/base/half.h"
#include "kernels/base/index.h"
#include "kernels/cpu/isa.h"

namespace dfengine::cpu {

// The layout of a packed right-hand side B [depth, columns], which is the same for every
// instruction set. Panels of 32 columns, each [depth][width], lie one after the other. What is left
// over takes a panel of 32, or 16, or 16 and 8, or 8, filled up with zeros. The panel that starts
// at column j lies at j * depth.
inline constexpr Index kPanelWidth = 32;
inline constexpr Index kPanelRounding = 8;

// Width of the panel at the start of `left` remaining columns.
constexpr Index panel_width(Index left) {
  if (left > 24) return 32;
  return left > 8 ? 16 : 8;
}

// What A and B hold of a step of depth where activations are stored in T: one value, or in bf16 two
// neighbours, which one instruction takes.
template <class T>
using MatrixUnit = std::conditional_t<std::is_same_v<T, BFloat16>, BFloat16Pair, T>;

// What one call computes: Y [rows, columns] = clamp(bias + A * B, low, high) + residual. Depth and
// the strides of A and B count units.
template <class Unit, class T>
struct MatrixBlock {
  Index rows = 0;
  Index columns = 0;
  Index depth = 0;
  const Unit* a = nullptr;
  Index a_stride = 0;            // see MatrixTable
  const Unit* packed = nullptr;  // B, padded columns
  T* y = nullptr;
  Index y_stride = 0;           // between rows, of residual too
  const float* bias = nullptr;  // [columns] or null
  const T* residual = nullptr;  // [rows, columns] or null; may be y
  // Optional: the unpacked B of a product that follows, fetched into the cache meanwhile, from one
  // step of depth to the next next_stride bytes. Only read ahead of time: it may lie outside the
  // buffer.
  const void* next = nullptr;
  Index next_stride = 0;
  float low = -__builtin_inff();
  float high = __builtin_inff();
};

// Every element of Y is one chain of fused multiply-adds (without FMA: multiply, add) from its bias
// in the order of depth, so results do not depend on how a product is cut into blocks of rows and
// columns.
template <class T>
struct MatrixTable {
  // A [rows, depth], a_stride between rows.
  void (*multiply)(const MatrixBlock<MatrixUnit<T>, T>& block);
  // A [depth, rows] read as its transpose, a_stride between steps of depth; sums as they are.
  void (*multiply_transposed)(const MatrixBlock<MatrixUnit<T>, float>& block);
};
DF_ISA_TABLE(MatrixTable, matrix)

}  // namespace dfengine::cpu
