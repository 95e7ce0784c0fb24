// Buffers and counters shared by the convolution benchmarks.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>

#include "kernels/base/shape.h"

namespace dfengine::bench {

struct Release {
  void operator()(float* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<float[], Release>;

// count floats, all 1, starting at a page.
inline Buffer ones(Index count) {
  constexpr Index kPage = 4096;
  const std::size_t bytes = at(round_up(count * kFloatBytes, kPage));
  Buffer buffer(static_cast<float*>(std::aligned_alloc(kPage, bytes)));
  for (Index i = 0; i < count; ++i) buffer[at(i)] = 1;
  return buffer;
}

// GFLOP/s, and GB/s with every element of the problem read or written once.
inline void report(benchmark::State& state, Index flops, Index elements) {
  const auto rate = [&](Index count) {
    return benchmark::Counter(static_cast<double>(count * state.iterations()),
                              benchmark::Counter::kIsRate);
  };
  state.counters["FLOP/s"] = rate(flops);
  state.counters["B/s"] = rate(elements * kFloatBytes);
}

}  // namespace dfengine::bench
