// The scratch of batch normalisation.
#pragma once

#include "kernels/batch_norm.h"

namespace dfengine::cpu {

// Scratch: kBatchNormVectors arrays [C] of per-channel constants, then kBatchNormSums arrays [C]
// for each chunk of rows.
inline constexpr Index kBatchNormVectors = 4;
inline constexpr Index kBatchNormSums = 3;

// The rows whose sums are taken together: their 128 KB of floats stay in every second-level cache
// for a second pass. They follow from the shape alone, so that results do not depend on the
// threads.
__attribute__((always_inline)) constexpr Index batch_norm_chunk_rows(const BatchNormProblem& p) {
  constexpr Index kChunkElements = Index{32} * 1024, kFewestRows = 32;
  const Index rows = kChunkElements / p.c / 4 * 4;
  return rows > kFewestRows ? rows : kFewestRows;
}

__attribute__((always_inline)) constexpr Index batch_norm_chunks(const BatchNormProblem& p) {
  const Index rows = batch_norm_chunk_rows(p);
  return (p.m + rows - 1) / rows;
}

}  // namespace dfengine::cpu
