// Inverted dropout. Philox is the cost and the tensor is small (the head's hidden layer), so one
// plain loop serves float and double.
#include "kernels/dropout.h"

#include <string>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace dfengine::cpu {
namespace {

constexpr Index kWords = 4;  // numbers one philox call gives
constexpr Index kCallsPerTask = 1 << 10;

// Calls body(i, keep) for every element; in parallel, each element's draw depends on first + i
// alone.
template <class Body>
void for_each_keep(const Context& ctx, Index first, Index count, double rate,
                   const StepInput& input, Body&& body) {
  if (!(rate >= 0.0 && rate < 1.0))
    throw UsageError("dropout rate " + std::to_string(rate) + ": must be in [0, 1)");
  constexpr Index kTask = kWords * kCallsPerTask;
  const Index begin = first / kTask, end = divide_up(first + count, kTask);
  parallel_for(ctx.pool, end - begin, [&](Index task, int) {
    const Index calls = (begin + task) * kCallsPerTask;
    for (Index call = calls; call < calls + kCallsPerTask; ++call) {
      const auto words =
          philox(input.seed, RandomStream::Dropout, input.step, static_cast<std::uint32_t>(call));
      for (Index word = 0; word < kWords; ++word) {
        const Index i = call * kWords + word - first;
        if (i < 0) continue;
        if (i >= count) return;
        const double uniform = (words[static_cast<std::size_t>(word)] >> 8) * 0x1p-24;
        body(i, uniform >= rate);
      }
    }
  });
}

}  // namespace

template <class T>
void dropout_forward(const Context& ctx, Index count, double rate, const StepInput* input,
                     const T* x, T* y, Index first) {
  const T scale = static_cast<T>(1.0 / (1.0 - rate));
  for_each_keep(ctx, first, count, rate, *input,
                [&](Index i, bool keep) { y[i] = keep ? x[i] * scale : T{0}; });
}

template <class T>
void dropout_backward(const Context& ctx, Index count, double rate, const StepInput* input,
                      const T* dy, Write write, T* dx, Index first) {
  const T scale = static_cast<T>(1.0 / (1.0 - rate));
  for_each_keep(ctx, first, count, rate, *input, [&](Index i, bool keep) {
    const T g = keep ? dy[i] * scale : T{0};
    dx[i] = write == Write::Accumulate ? dx[i] + g : g;
  });
}

DF_FLOAT_AND_DOUBLE(dropout_forward);
DF_FLOAT_AND_DOUBLE(dropout_backward);

}  // namespace dfengine::cpu
