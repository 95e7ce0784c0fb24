// Gradient of a bias: each task sums a block of columns over all rows.
#include "kernels/bias.h"

#include <algorithm>

namespace dfengine::cpu {

template <class T>
void bias_backward(const Context& ctx, Index m, Index c, const T* dy, T* db) {
  constexpr Index kBlock = 64;
  parallel_for(ctx.pool, divide_up(c, kBlock), [&](Index task, int) {
    const Index first = task * kBlock, count = std::min(kBlock, c - first);
    T sum[kBlock] = {};
    for (Index i = 0; i < m; ++i) {
      const T* row = dy + i * c + first;
      for (Index j = 0; j < count; ++j) sum[j] += row[j];
    }
    std::copy(sum, sum + count, db + first);
  });
}

DF_FLOAT_AND_DOUBLE(bias_backward);

}  // namespace dfengine::cpu
