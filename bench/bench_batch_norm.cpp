// Batch norm over MobileNetV2's shapes (224 px, batch 32): training forward and backward beside a
// plain copy that moves as many bytes. GB/s counts what the algorithm must move: forward reads x
// twice and writes y, backward reads x and dy twice and writes dx.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <vector>

#include "kernels/batch_norm.h"

namespace {

using dfengine::Activation;
using dfengine::BatchNormProblem;
using dfengine::Index;
using dfengine::ThreadPool;

constexpr Index kBatch = 32;

// Floats on a cache line boundary, as the engine's arenas place them.
class Buffer {
 public:
  explicit Buffer(std::size_t count) : storage_(count + kLine) {
    void* start = storage_.data();
    std::size_t space = storage_.size() * sizeof(float);
    data_ =
        static_cast<float*>(std::align(kLine * sizeof(float), count * sizeof(float), start, space));
  }
  float* data() { return data_; }

 private:
  static constexpr std::size_t kLine = 16;
  std::vector<float> storage_;
  float* data_;
};

struct Data {
  explicit Data(const benchmark::State& state)
      : p(BatchNormProblem::make(kBatch * state.range(0) * state.range(0), state.range(1), 1e-5,
                                 0.1, Activation::Relu6)),
        pool(ThreadPool::available()),
        x(size(p.m * p.c)),
        y(size(p.m * p.c)),
        dx(size(p.m * p.c)),
        channels(size(9 * p.c)),
        scratch(size(dfengine::cpu::batch_norm_scratch(p))) {
    for (Index i = 0; i < p.m * p.c; ++i) x.data()[i] = static_cast<float>(i % 251) / 50.0f;
    for (Index i = 0; i < 9 * p.c; ++i) channels.data()[i] = 1.0f;
  }
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  float* channel(Index which) { return channels.data() + which * p.c; }

  void forward() {
    dfengine::cpu::batch_norm_forward<float>({pool}, p, x.data(), channel(0), channel(1),
                                             channel(2), channel(3), channel(7), channel(8),
                                             scratch.data(), channel(4), channel(5), y.data());
  }
  void backward() {
    dfengine::cpu::batch_norm_backward<float>({pool}, p, x.data(), y.data(), channel(0), channel(1),
                                              channel(4), channel(5), scratch.data(), channel(6),
                                              channel(6), dx.data());
  }

  BatchNormProblem p;
  ThreadPool pool;
  Buffer x, y, dx, channels, scratch;
};

void report(benchmark::State& state, const Data& data, double passes) {
  const double bytes = passes * 4.0 * static_cast<double>(data.p.m * data.p.c);
  state.counters["GB/s"] =
      benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void batch_norm_forward(benchmark::State& state) {
  Data data(state);
  for (auto _ : state) data.forward();
  report(state, data, 3);
}

void batch_norm_backward(benchmark::State& state) {
  Data data(state);
  data.forward();
  for (auto _ : state) data.backward();
  report(state, data, 5);
}

// The yardstick: reads x, writes y, on the same threads.
void batch_norm_copy(benchmark::State& state) {
  Data data(state);
  const Index row = data.p.m / kBatch * data.p.c;
  for (auto _ : state) {
    dfengine::parallel_for(data.pool, kBatch, [&](Index image, int) {
      std::memcpy(data.y.data() + image * row, data.x.data() + image * row, Data::size(row) * 4);
    });
    benchmark::ClobberMemory();
  }
  report(state, data, 2);
}

// {side, channels} of the batch norms of MobileNetV2 1.0 at 224 px.
void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"side", "c"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (const auto& [side, c] : {std::pair{112, 32},
                                {112, 16},
                                {112, 96},
                                {56, 96},
                                {56, 24},
                                {56, 144},
                                {28, 144},
                                {28, 32},
                                {28, 192},
                                {14, 64},
                                {14, 384},
                                {14, 96},
                                {14, 576},
                                {7, 576},
                                {7, 160},
                                {7, 960},
                                {7, 320},
                                {7, 1280}})
    bench->Args({side, c});
}

BENCHMARK(batch_norm_copy)->Apply(shapes);
BENCHMARK(batch_norm_forward)->Apply(shapes);
BENCHMARK(batch_norm_backward)->Apply(shapes);

}  // namespace
