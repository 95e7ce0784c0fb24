// Stem convolution of MobileNetV2 at 224. Arguments: batch, threads.
#include "bench/conv_bench.h"
#include "kernels/stem_conv.h"

namespace dfengine::bench {
namespace {

struct Setup {
  explicit Setup(const benchmark::State& state)
      : p(StemProblem::make({state.range(0), 224, 224, 3}, 32, Padding::Torch)),
        pool(static_cast<int>(state.range(1))),
        ctx{pool},
        x(ones(p.n * p.h * p.w * 3)),
        w(ones(27 * p.k)),
        y(ones(p.output().count())),
        scratch(ones(cpu::stem_weight_scratch(p))) {}
  StemProblem p;
  ThreadPool pool;
  cpu::Context ctx;
  Buffer x, w, y, scratch;
};

void stem_forward(benchmark::State& state) {
  Setup s(state);
  const Epilogue<float> epilogue{s.w.get(), Activation::Relu6, nullptr};
  for (auto _ : state) cpu::stem_forward(s.ctx, s.p, s.x.get(), s.w.get(), epilogue, s.y.get());
  report(state, s.p.flops(), s.p.elements());
}

void stem_backward_weight(benchmark::State& state) {
  Setup s(state);
  for (auto _ : state)
    cpu::stem_backward_weight(s.ctx, s.p, s.x.get(), s.y.get(), s.scratch.get(), s.w.get());
  report(state, s.p.flops(), s.p.elements());
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"n", "threads"})->ArgsProduct({{1, 32}, {1, 2}});
  bench->UseRealTime()->Unit(benchmark::kMicrosecond);
}

BENCHMARK(stem_forward)->Apply(sizes);
BENCHMARK(stem_backward_weight)->Apply(sizes);

}  // namespace
}  // namespace dfengine::bench
