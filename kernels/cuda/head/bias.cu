// Gradient of a bias on the GPU: column sums over ranges of rows, then over the ranges.
#include "kernels/bias.h"

#include <algorithm>

#include "kernels/cuda/ordered_sum.h"

namespace dfengine::cuda {
namespace {

// There are at most kRanges ranges, and only the last may be shorter than kRows.
constexpr Index kRows = 512, kRanges = 264;

Index rows_per_range(Index m) {
  return std::max(kRows, divide_up(m, kRanges));
}

}  // namespace

Index bias_scratch(Index m, Index c) {
  const Index rows = rows_per_range(m);
  return m <= rows ? 0 : divide_up(m, rows) * c;
}

void bias_backward(Stream stream, Index m, Index c, const float* dy, float* scratch, float* db) {
  const Index rows = rows_per_range(m);
  if (m <= rows) return ordered_sum(stream, m, c, rows, dy, db);
  ordered_sum(stream, m, c, rows, dy, scratch);
  const Index ranges = divide_up(m, rows);
  ordered_sum(stream, ranges, c, ranges, scratch, db);
}

}  // namespace dfengine::cuda
