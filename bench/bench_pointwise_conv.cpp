// Pointwise convolution over the layers of MobileNetV2 1.0 at 224, batch 1 and 32, all threads.
#include <benchmark/benchmark.h>

#include "kernels/pointwise_conv.h"
#include "tests/support/random_data.h"

namespace dfengine::cpu {
namespace {

ThreadPool& pool() {
  static ThreadPool threads(ThreadPool::available());
  return threads;
}

// Arguments: batch, pixels of one image, c, k.
PointwiseProblem problem(const benchmark::State& state) {
  return PointwiseProblem::make(state.range(0) * state.range(1), state.range(2), state.range(3));
}

void report(benchmark::State& state, const PointwiseProblem& p) {
  const auto runs = static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] =
      benchmark::Counter(static_cast<double>(p.flops()) * runs * 1e-9, benchmark::Counter::kIsRate);
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(p.elements()) * 4e-9 * runs,
                                              benchmark::Counter::kIsRate);
}

void pointwise_forward(benchmark::State& state) {
  const PointwiseProblem p = problem(state);
  const auto x = test::random_uniform<float>(p.m * p.c, 1);
  const auto w = test::random_uniform<float>(p.k * p.c, 2);
  const auto bias = test::random_uniform<float>(p.k, 3);
  std::vector<float> packed(at(pointwise_packed_count(p)));
  std::vector<float> y(at(p.m * p.k));
  pointwise_pack(p, w.data(), packed.data());
  for (auto _ : state)
    cpu::pointwise_forward<float>({pool()}, p, x.data(), packed.data(),
                                  {.bias = bias.data(), .activation = Activation::Relu6}, y.data());
  report(state, p);
}

void pointwise_backward_data(benchmark::State& state) {
  const PointwiseProblem p = problem(state);
  const auto dy = test::random_uniform<float>(p.m * p.k, 1);
  const auto w = test::random_uniform<float>(p.k * p.c, 2);
  std::vector<float> packed(at(pointwise_packed_count(p)));
  std::vector<float> dx(at(p.m * p.c));
  pointwise_pack_transposed(p, w.data(), packed.data());
  for (auto _ : state)
    cpu::pointwise_backward_data<float>({pool()}, p, dy.data(), packed.data(), Write::Overwrite,
                                        dx.data());
  report(state, p);
}

void pointwise_backward_weight(benchmark::State& state) {
  const PointwiseProblem p = problem(state);
  const auto x = test::random_uniform<float>(p.m * p.c, 1);
  const auto dy = test::random_uniform<float>(p.m * p.k, 2);
  std::vector<float> scratch(at(pointwise_weight_scratch(p)));
  std::vector<float> dw(at(p.k * p.c));
  for (auto _ : state)
    cpu::pointwise_backward_weight<float>({pool()}, p, x.data(), dy.data(), scratch.data(),
                                          dw.data());
  report(state, p);
}

void layers(benchmark::internal::Benchmark* bench) {
  constexpr Index kLayers[][3] = {
      {12544, 32, 16}, {12544, 16, 96}, {3136, 96, 24}, {3136, 24, 144}, {3136, 144, 24},
      {784, 144, 32},  {784, 32, 192},  {784, 192, 32}, {196, 192, 64},  {196, 64, 384},
      {196, 384, 64},  {196, 384, 96},  {196, 96, 576}, {196, 576, 96},  {49, 576, 160},
      {49, 160, 960},  {49, 960, 160},  {49, 960, 320}, {49, 320, 1280}, {1, 1280, 128},
      {1, 128, 1},     {1, 1280, 1000}};
  bench->ArgNames({"n", "pixels", "c", "k"})->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (Index n : {1, 32})
    for (const auto& layer : kLayers) bench->Args({n, layer[0], layer[1], layer[2]});
}

BENCHMARK(pointwise_forward)->Apply(layers);
BENCHMARK(pointwise_backward_data)->Apply(layers);
BENCHMARK(pointwise_backward_weight)->Apply(layers);

}  // namespace
}  // namespace dfengine::cpu
