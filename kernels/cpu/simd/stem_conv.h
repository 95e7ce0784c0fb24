// The stem rows that kernels/cpu/stem_conv.cpp shares among threads, one table per instruction set.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/stem_conv.h"

namespace dfengine::cpu {

// Rows are counted over the batch: row n * P + p of y.
struct StemTable {
  // Rows [begin, end) of y.
  void (*forward)(const StemProblem& p, const float* x, const float* w,
                  const Epilogue<float>& epilogue, Index begin, Index end, float* y);
  // partial [3, 3, 3, K] += the share of rows [begin, end) of dy.
  void (*backward_weight)(const StemProblem& p, const float* x, const float* dy, Index begin,
                          Index end, float* partial);
};

DF_ISA_TABLE(StemTable, stem)

}  // namespace dfengine::cpu
