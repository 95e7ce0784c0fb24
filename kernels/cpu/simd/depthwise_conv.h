// The depthwise rows that kernels/cpu/depthwise_conv.cpp shares among threads, one table per
// instruction set.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/depthwise_conv.h"

namespace dfengine::cpu {

// Rows are counted over the batch: row n * P + p of y, n * H + i of x.
struct DepthwiseTable {
  // Rows [begin, end) of y.
  void (*forward)(const DepthwiseProblem& p, const float* x, const float* w,
                  const Epilogue<float>& epilogue, Index begin, Index end, float* y);
  // Rows [begin, end) of dx.
  void (*backward_data)(const DepthwiseProblem& p, const float* dy, const float* w, Write write,
                        Index begin, Index end, float* dx);
  // partial [3, 3, C] += the share of rows [begin, end) of dy.
  void (*backward_weight)(const DepthwiseProblem& p, const float* x, const float* dy, Index begin,
                          Index end, float* partial);
};

DF_ISA_TABLE(DepthwiseTable, depthwise)

}  // namespace dfengine::cpu
