// Moving average of parameters, for float and double.
#include "kernels/moving_average.h"

#include <algorithm>

namespace dfengine::cpu {

template <class T>
void move_average(const Context& ctx, Index count, const StepInput* input,
                  const StepScalars* scalars, const T* values, T* average) {
  if (scalars->overflow != 0) return;
  constexpr Index kChunk = 4096;
  const T rate = static_cast<T>(1 - input->average_decay);
  parallel_for(ctx.pool, divide_up(count, kChunk), [&](Index chunk, int) {
    const Index end = std::min(count, (chunk + 1) * kChunk);
    for (Index i = chunk * kChunk; i < end; ++i) average[i] += rate * (values[i] - average[i]);
  });
}

DF_FLOAT_AND_DOUBLE(move_average);

}  // namespace dfengine::cpu
