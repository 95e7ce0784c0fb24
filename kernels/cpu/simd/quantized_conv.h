// The products behind the quantized convolutions, one table per instruction set. What AVX-512 VNNI
// computes is a set of its own, avx512vnni.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/quantized_conv.h"

namespace dfengine::cpu {

// Columns of a packed matrix lie in panels as those of simd/pointwise_conv.h, here
// [depth][width][4]: the unit of depth is four neighbours, which one instruction takes.
inline constexpr Index kQuad = 4;

// Y [rows, columns] = epilogue(A * B). A [rows, depth quads], in bytes a_stride between rows.
struct QuantizedBlock {
  Index rows = 0, columns = 0;  // columns: a multiple of 8
  Index depth = 0;              // quads
  const std::uint8_t* a = nullptr;
  Index a_stride = 0;
  const std::int8_t* packed = nullptr;
  QuantizedEpilogue epilogue;  // pointers at the block's first column and row
  std::uint8_t* y = nullptr;
  Index y_stride = 0;  // between rows, of residual too
};

// Depthwise channels lie in groups of 64, and what is left over in one of 32, 16 and 8. A column of
// a window is its three taps and a zero. Within each 16 channels of a group of G, the vectors hold
// channels 0 to 3, 4 to 7, 8 to 11 and 12 to 15 in turn: weights [3 columns][4 vectors][G / 4][4],
// bias and scale [4 vectors][G / 4]. A group of 8 has two vectors.
constexpr Index depthwise_group(Index left) {
  return left >= 64 ? 64 : left >= 32 ? 32 : left >= 16 ? 16 : 8;
}
// Where channel c of a group lies among bias and scale; times 4, among a column's weights.
constexpr Index depthwise_position(Index group, Index c) {
  const Index lanes = group >= 16 ? group / 16 : 1;
  return c % 16 / 4 * (lanes * 4) + c / 16 * 4 + c % 4;
}

struct QuantizedTable {
  void (*multiply)(const QuantizedBlock& block);
  // Output rows [begin, end), counted over the batch.
  void (*depthwise)(const DepthwiseProblem& p, const std::uint8_t* x, const std::int8_t* packed,
                    const QuantizedEpilogue& epilogue, Index begin, Index end, std::uint8_t* y);
};
DF_FLOAT_ISA_TABLE(QuantizedTable, quantized_table)
#if DF_X86_ISAS
namespace avx512vnni {
extern const QuantizedTable quantized_table;
}
#endif

}  // namespace dfengine::cpu
