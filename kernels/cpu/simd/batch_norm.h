// The vectorised functions of kernels/batch_norm.h, one table per instruction set, and the
// layout of the scratch they use.
#pragma once

#include "kernels/batch_norm.h"
#include "kernels/cpu/isa.h"

namespace dfengine::cpu {

template <class T>
struct BatchNormTable {
  decltype(&batch_norm_forward<T>) forward;
  decltype(&batch_norm_backward<T>) backward;
  decltype(&batch_norm_frozen_forward<T>) frozen_forward;
  decltype(&batch_norm_frozen_backward<T>) frozen_backward;
};
DF_ISA_TABLE(BatchNormTable, batch_norm_table)

// Scratch: kBatchNormVectors arrays [C] of per-channel constants, then kBatchNormSums arrays [C]
// for each chunk of rows.
inline constexpr Index kBatchNormVectors = 4;
inline constexpr Index kBatchNormSums = 3;

// The rows whose sums are taken together: their 128 KB of floats stay in every second-level cache
// for a second pass. They follow from the shape alone, so that results do not depend on the
// threads.
__attribute__((always_inline)) constexpr Index batch_norm_chunk_rows(const BatchNormProblem& p) {
  constexpr Index kChunkElements = 32 * 1024, kFewestRows = 32;
  const Index rows = kChunkElements / p.c / 4 * 4;
  return rows > kFewestRows ? rows : kFewestRows;
}

__attribute__((always_inline)) constexpr Index batch_norm_chunks(const BatchNormProblem& p) {
  const Index rows = batch_norm_chunk_rows(p);
  return (p.m + rows - 1) / rows;
}

}  // namespace dfengine::cpu
