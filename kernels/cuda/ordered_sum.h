// Column sums in a fixed order: the second stage of reductions, and the bias gradient.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cuda/stream.h"

namespace dfengine::cuda {

// sums[r][i] = the sum of in[row][i] over the r-th rows_per_range rows, where the last range is
// what is left. in [rows, count], sums [divide_up(rows, rows_per_range), count]. The bits are the
// same in every run.
void ordered_sum(Stream stream, Index rows, Index count, Index rows_per_range, const float* in,
                 float* sums);

}  // namespace dfengine::cuda
