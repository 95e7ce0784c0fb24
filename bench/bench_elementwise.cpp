// The element-by-element operations at sizes of MobileNetV2 training: GB/s of what they must move.
#include <benchmark/benchmark.h>

#include <vector>

#include "kernels/activation.h"
#include "kernels/adam.h"
#include "kernels/dropout.h"
#include "kernels/global_average_pool.h"
#include "kernels/image_normalize.h"
#include "kernels/residual_add.h"

namespace {

using namespace dfengine;

struct Data {
  explicit Data(const benchmark::State& state)
      : count(state.range(0)), pool(ThreadPool::available()) {
    for (auto* v : {&a, &b, &c, &d}) v->assign(at(count), 0.5f);
  }
  Index count;
  ThreadPool pool;
  std::vector<float> a, b, c, d;
};

// Times body(data) and counts `bytes` per element.
template <class Body>
void run(benchmark::State& state, double bytes, Body&& body) {
  Data data(state);
  for (auto _ : state) {
    body(data);
    benchmark::ClobberMemory();
  }
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9 * static_cast<double>(data.count),
                                              benchmark::Counter::kIsIterationInvariantRate);
}

void relu6_forward(benchmark::State& state) {
  run(state, 8, [](Data& d) {
    cpu::activation_forward<float>({d.pool}, Activation::Relu6, d.count, d.a.data(), d.b.data());
  });
}

void relu6_backward(benchmark::State& state) {
  run(state, 12, [](Data& d) {
    cpu::activation_backward<float>({d.pool}, Activation::Relu6, d.count, d.a.data(), d.b.data(),
                                    Write::Overwrite, d.c.data());
  });
}

void residual_add(benchmark::State& state) {
  run(state, 12, [](Data& d) {
    cpu::residual_add<float>({d.pool}, d.count, d.a.data(), d.b.data(), d.c.data());
  });
}

void adam(benchmark::State& state) {
  run(state, 28, [](Data& d) {
    cpu::adam_update<float>({d.pool}, {}, d.count, d.a.data(), d.b.data(), d.c.data(), d.d.data());
  });
}

void dropout_forward(benchmark::State& state) {
  run(state, 8, [](Data& d) {
    const StepInput input{.seed = 1, .step = 2};
    cpu::dropout_forward<float>({d.pool}, d.count, 0.5, &input, d.a.data(), d.b.data());
  });
}

void image_normalize(benchmark::State& state) {
  const double mean[3] = {0.485, 0.456, 0.406}, std_dev[3] = {0.229, 0.224, 0.225};
  const std::vector<std::uint8_t> pixels(at(state.range(0)), 77);
  run(state, 5, [&](Data& d) {
    cpu::image_normalize<float>({d.pool}, d.count / 3, mean, std_dev, pixels.data(), d.a.data());
  });
}

// The element count is 49 * 1280 per image.
void global_average_pool(benchmark::State& state) {
  run(state, 4, [](Data& d) {
    const Shape shape{d.count / (49 * 1280), 7, 7, 1280};
    cpu::global_average_pool_forward<float>({d.pool}, shape, d.a.data(), d.b.data());
  });
}

void timed(benchmark::internal::Benchmark* bench) {
  bench->ArgName("count")->UseRealTime()->Unit(benchmark::kMicrosecond);
}

BENCHMARK(relu6_forward)->Apply(timed)->Arg(32 * 49 * 1280)->Arg(32 * 12544 * 32);
BENCHMARK(relu6_backward)->Apply(timed)->Arg(32 * 49 * 1280)->Arg(32 * 12544 * 32);
BENCHMARK(residual_add)->Apply(timed)->Arg(32 * 49 * 160)->Arg(32 * 3136 * 24);
BENCHMARK(adam)->Apply(timed)->Arg(2'223'872);
BENCHMARK(dropout_forward)->Apply(timed)->Arg(32 * 128);
BENCHMARK(image_normalize)->Apply(timed)->Arg(32 * 224 * 224 * 3);
BENCHMARK(global_average_pool)->Apply(timed)->Arg(49 * 1280)->Arg(32 * 49 * 1280);

}  // namespace
