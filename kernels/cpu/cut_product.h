// How matrix products are shared among threads.
#pragma once

#include <algorithm>

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cpu/simd/pointwise_conv.h"

namespace dfengine::cpu {

// Bytes of A and Y that stay in the second-level cache while the strips of B pass over them.
inline constexpr Index kCacheBytes = 256 * 1024;
// Less work than this is not worth handing to another thread: arithmetic, or where there are few
// rows the reading of B.
inline constexpr Index kTaskFlops = 1 << 20;
inline constexpr Index kTaskBytes = 128 * 1024;

// How a product is cut into tasks. Results do not depend on it, so it may follow the thread count.
struct Cut {
  Index row_block, row_blocks, column_block, column_blocks;
};

// depth counts channels, of `element` bytes like the columns.
inline Cut cut_product(Index threads, Index rows, Index columns, Index depth, Index element) {
  constexpr Index kSmallestRows = 24;
  constexpr Index kTasksPerThread = 4;
  const Index worth =
      std::max(2 * rows * columns * depth / kTaskFlops, element * columns * depth / kTaskBytes);
  Index wanted = 1;
  if (threads > 1) wanted = std::clamp<Index>(worth, 1, kTasksPerThread * threads);
  const Index fit = std::max<Index>(kSmallestRows, kCacheBytes / (element * (depth + columns)));
  Index row_blocks = divide_up(rows, fit);
  row_blocks = std::max(row_blocks, std::min(wanted, rows / kSmallestRows));
  const Index strips = divide_up(columns, kPanelWidth);
  const Index column_blocks = std::min(strips, divide_up(wanted, row_blocks));
  Cut cut;
  cut.row_block = divide_up(rows, row_blocks);
  cut.row_blocks = divide_up(rows, cut.row_block);
  cut.column_block = divide_up(strips, column_blocks) * kPanelWidth;
  cut.column_blocks = divide_up(columns, cut.column_block);
  return cut;
}

// Calls body(first row, rows, first column, columns) for the blocks of the product, in parallel.
template <class Body>
void for_blocks(const Context& ctx, const Cut& cut, Index rows, Index columns, const Body& body) {
  parallel_for(ctx.pool, cut.row_blocks * cut.column_blocks, [&](Index task, int) {
    const Index i = task / cut.column_blocks * cut.row_block;
    const Index j = task % cut.column_blocks * cut.column_block;
    body(i, std::min(cut.row_block, rows - i), j, std::min(cut.column_block, columns - j));
  });
}

}  // namespace dfengine::cpu
