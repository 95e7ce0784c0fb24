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
  constexpr std::size_t kPage = 4096;
  const std::size_t bytes =
      (static_cast<std::size_t>(count) * sizeof(float) + kPage - 1) / kPage * kPage;
  Buffer buffer(static_cast<float*>(std::aligned_alloc(kPage, bytes)));
  for (Index i = 0; i < count; ++i) buffer[static_cast<std::size_t>(i)] = 1;
  return buffer;
}

// GFLOP/s, and GB/s with every element of the problem read or written once.
inline void report(benchmark::State& state, Index flops, Index elements) {
  const auto rate = [&](Index count) {
    return benchmark::Counter(static_cast<double>(count * state.iterations()),
                              benchmark::Counter::kIsRate);
  };
  state.counters["FLOP/s"] = rate(flops);
  state.counters["B/s"] = rate(elements * static_cast<Index>(sizeof(float)));
}

}  // namespace dfengine::bench
