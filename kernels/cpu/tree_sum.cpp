#include "kernels/tree_sum.h"

#include <algorithm>

namespace dfengine::cpu {

template <class T>
void tree_sum(const Context& ctx, Index rows, Index pitch, Index count, T* values, T* to) {
  constexpr Index kTask = 2048;
  parallel_for(ctx.pool, divide_up(count, kTask), [&](Index task, int) {
    const Index begin = task * kTask, end = std::min(begin + kTask, count);
    for (Index distance = 1; distance < rows; distance *= 2)
      for (Index row = 0; row < rows; row += 2 * distance) {
        T* sum = values + row * pitch;
        const T* other = sum + distance * pitch;
        for (Index i = begin; i < end; ++i) sum[i] += other[i];
      }
    if (to != values) std::copy(values + begin, values + end, to + begin);
  });
}

template void tree_sum(const Context&, Index, Index, Index, float*, float*);
template void tree_sum(const Context&, Index, Index, Index, double*, double*);

}  // namespace dfengine::cpu
