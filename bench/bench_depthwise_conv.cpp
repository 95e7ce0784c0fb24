// Depthwise convolution over the layers of MobileNetV2 at 224. Arguments: batch, side, channels,
// stride, threads.
#include "bench/conv_bench.h"
#include "kernels/depthwise_conv.h"

namespace dfengine::bench {
namespace {

struct Setup {
  explicit Setup(const benchmark::State& state)
      : p(DepthwiseProblem::make({state.range(0), state.range(1), state.range(1), state.range(2)},
                                 state.range(3), Padding::Torch)),
        pool(static_cast<int>(state.range(4))),
        ctx{pool},
        x(ones(p.input().count())),
        w(ones(9 * p.c)),
        y(ones(p.output().count())),
        scratch(ones(cpu::depthwise_weight_scratch(p))) {}
  DepthwiseProblem p;
  ThreadPool pool;
  cpu::Context ctx;
  Buffer x, w, y, scratch;
};

void depthwise_forward(benchmark::State& state) {
  Setup s(state);
  const Epilogue<float> epilogue{s.w.get(), Activation::Relu6, nullptr};
  for (auto _ : state)
    cpu::depthwise_forward(s.ctx, s.p, s.x.get(), s.w.get(), epilogue, s.y.get());
  report(state, s.p.flops(), s.p.elements());
}

void depthwise_backward_data(benchmark::State& state) {
  Setup s(state);
  for (auto _ : state)
    cpu::depthwise_backward_data(s.ctx, s.p, s.y.get(), s.w.get(), Write::Overwrite, s.x.get());
  report(state, s.p.flops(), s.p.elements());
}

void depthwise_backward_weight(benchmark::State& state) {
  Setup s(state);
  for (auto _ : state)
    cpu::depthwise_backward_weight(s.ctx, s.p, s.x.get(), s.y.get(), s.scratch.get(), s.w.get());
  report(state, s.p.flops(), s.p.elements());
}

void layers(benchmark::internal::Benchmark* bench) {
  struct Layer {
    Index side, channels, stride;
  };
  constexpr Layer kLayers[] = {{112, 32, 1}, {112, 96, 2}, {56, 144, 1}, {56, 144, 2}, {28, 192, 1},
                               {28, 192, 2}, {14, 384, 1}, {14, 576, 1}, {14, 576, 2}, {7, 960, 1}};
  bench->ArgNames({"n", "side", "c", "stride", "threads"});
  for (Index n : {1, 32})
    for (const Layer& layer : kLayers)
      for (Index threads : {1, 2})
        bench->Args({n, layer.side, layer.channels, layer.stride, threads});
  bench->UseRealTime()->Unit(benchmark::kMicrosecond);
}

BENCHMARK(depthwise_forward)->Apply(layers);
BENCHMARK(depthwise_backward_data)->Apply(layers);
BENCHMARK(depthwise_backward_weight)->Apply(layers);

}  // namespace
}  // namespace dfengine::bench
