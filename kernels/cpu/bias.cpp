// Gradient of a bias: column sums, each task a block of columns over all rows.
#include "kernels/bias.h"

#include <algorithm>

namespace dfengine::cpu {

template <class T>
void bias_backward(const Context& ctx, Index m, Index c, const T* dy, Write write, T* db) {
  constexpr Index kBlock = 64;
  parallel_for(ctx.pool, (c + kBlock - 1) / kBlock, [&](Index task, int) {
    const Index first = task * kBlock, count = std::min(kBlock, c - first);
    T sum[kBlock] = {};
    for (Index i = 0; i < m; ++i) {
      const T* row = dy + i * c + first;
      for (Index j = 0; j < count; ++j) sum[j] += row[j];
    }
    for (Index j = 0; j < count; ++j)
      db[first + j] = write == Write::Accumulate ? db[first + j] + sum[j] : sum[j];
  });
}

template void bias_backward<float>(const Context&, Index, Index, const float*, Write, float*);
template void bias_backward<double>(const Context&, Index, Index, const double*, Write, double*);

}  // namespace dfengine::cpu
