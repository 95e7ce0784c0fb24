// The depthwise rows that kernels/cpu/depthwise_conv.cpp shares among threads, one table per
// instruction set.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/depthwise_conv.h"

namespace dfengine::cpu {

// T: what activations are stored in. Rows are counted over the batch: row n * P + p of y, n * H + i
// of x.
template <class T>
struct DepthwiseTable {
  // Rows [begin, end) of y.
  void (*forward)(const DepthwiseProblem& p, const T* x, const float* w,
                  const Epilogue<T>& epilogue, Index begin, Index end, T* y);
  // Rows [begin, end) of dx.
  void (*backward_data)(const DepthwiseProblem& p, const T* dy, const float* w, Write write,
                        Index begin, Index end, T* dx);
  // partial [3, 3, C] += the share of rows [begin, end) of dy.
  void (*backward_weight)(const DepthwiseProblem& p, const T* x, const T* dy, Index begin,
                          Index end, float* partial);
};

DF_ISA_TABLE(DepthwiseTable, depthwise)

}  // namespace dfengine::cpu
