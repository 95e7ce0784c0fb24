// Adam and AdamW on every target: five steps of PyTorch; float against double, every tail, any
// schedule.
#include "kernels/adam.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"
#include "tests/kernels/kernel_golden.h"

namespace dfengine::test {
namespace {

template <class T>
void update(const Cpu<T>& on, const AdamProblem& p, Index count, const T* grad, T* w, T* m, T* v) {
  cpu::adam_update<T>(on.context(), p, count, grad, w, m, v);
}
// One block of parameters with one decay; without a loss scale.
void update(Device<float>, const AdamProblem& p, Index count, const float* grad, float* w, float* m,
            float* v) {
  std::vector<cuda::AdamChunk> list;
  for (Index at = 0; at < count; at += cuda::kAdamChunk)
    list.push_back({at, static_cast<std::int32_t>(std::min(cuda::kAdamChunk, count - at)),
                    static_cast<float>(p.weight_decay), false});
  DeviceStructs<cuda::AdamChunk> chunks(list);
  DeviceStructs<StepScalars> scalars(
      std::vector<StepScalars>{{.step = static_cast<std::uint64_t>(p.step - 1)}});
  DeviceStructs<StepInput> input(std::vector<StepInput>{{.learning_rate = p.lr}});
  cuda::adam_update<float>(nullptr, p, scalars.data(), input.data(), chunks.data(),
                           std::ssize(list), grad, nullptr, count, w, m, v, nullptr);
  cuda::synchronize(nullptr);
}

struct State {
  Doubles w, m, v;

  explicit State(Doubles start) : w(std::move(start)), m(w.size(), 0), v(w.size(), 0) {}
  bool operator==(const State&) const = default;

  template <class Target>
  void step(const Target& on, const AdamProblem& p, const Doubles& gradient) {
    ValuesOn<Target> g(gradient), ws(w), ms(m), vs(v);
    update(on, p, static_cast<Index>(w.size()), g.data(), ws.data(), ms.data(), vs.data());
    w = ws.values();
    m = ms.values();
    v = vs.values();
  }
};

template <class Target>
void expect_near(const State& got, const State& want, double steps) {
  // Every step adds a few roundings of w, m and v, all of them of order 1.
  const double allowed = tolerance<typename Target::Value>(steps * 4, largest(want.w, 1));
  expect_all_near(got.w, want.w, allowed, "w");
  expect_all_near(got.m, want.m, allowed, "m");
  expect_all_near(got.v, want.v, allowed, "v");
}

template <class Target>
class Adam : public OnTarget<Target> {};
TYPED_TEST_SUITE(Adam, HeadTargets, TargetNames);

TYPED_TEST(Adam, FiveStepsEqualPyTorch) {
  for (const nlohmann::json& golden : kernel_golden("adam"))
    for_each_code<TypeParam>([&] {
      AdamProblem p{.lr = golden.at("lr"),
                    .beta1 = golden.at("betas")[0],
                    .beta2 = golden.at("betas")[1],
                    .eps = golden.at("eps"),
                    .weight_decay = golden.at("weight_decay"),
                    .decoupled = golden.at("decoupled"),
                    .step = 0};
      State state(golden_values<double>(golden, "w_in"));
      for (const nlohmann::json& gradient : golden.at("gradients")) {
        ++p.step;
        state.step(TypeParam{}, p, gradient.get<Doubles>());
      }
      State want(golden_values<double>(golden, "w"));
      want.m = golden_values<double>(golden, "m");
      want.v = golden_values<double>(golden, "v");
      expect_near<TypeParam>(state, want, static_cast<double>(p.step));
    });
}

template <class Target>
class AdamRounded : public OnTarget<Target> {};
TYPED_TEST_SUITE(AdamRounded, FloatTargets, TargetNames);

TYPED_TEST(AdamRounded, EqualsDoubleForEveryTailAndSchedule) {
  for (bool decoupled : {false, true})
    for (Index count : {1, 3, 8, 16, 24, 33, 96, 40001}) {
      const AdamProblem p{.weight_decay = 0.01, .decoupled = decoupled, .step = 3};
      const Doubles w = random_uniform<double>(count, 1), g = random_uniform<double>(count, 2);
      State want(w);
      want.step(Cpu<double>{}, p, g);
      for_each_code<TypeParam>([&] {
        const State got = same_for_every_schedule<TypeParam>([&](const TypeParam& on) {
          State state(w);
          state.step(on, p, g);
          return state;
        });
        expect_near<TypeParam>(got, want, 1);
      });
    }
}

}  // namespace
}  // namespace dfengine::test
