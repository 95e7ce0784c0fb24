// The stem rows that kernels/cpu/stem_conv.cpp shares among threads, one table per instruction set.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/stem_conv.h"

namespace dfengine::cpu {

// T: what activations are stored in. Rows are counted over the batch: row n * P + p of y.
template <class T>
struct StemTable {
  // Rows [begin, end) of y.
  void (*forward)(const StemProblem& p, const T* x, const float* w, const Epilogue<T>& epilogue,
                  Index begin, Index end, T* y);
  // partial [3, 3, 3, K] += the share of rows [begin, end) of dy.
  void (*backward_weight)(const StemProblem& p, const T* x, const T* dy, Index begin, Index end,
                          float* partial);
};

DF_ISA_TABLE(StemTable, stem)

}  // namespace dfengine::cpu
