// Adam and AdamW: five steps of PyTorch, float against double on every instruction set, threads.
#include "kernels/adam.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"
#include "tests/kernels/kernel_golden.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {
namespace {

template <class T>
struct State {
  std::vector<T> w, m, v;

  explicit State(std::vector<T> start) : w(std::move(start)), m(w.size(), 0), v(w.size(), 0) {}

  void step(const AdamProblem& p, const std::vector<T>& gradient, int threads = 1) {
    cpu::ThreadPool pool(threads);
    cpu::adam_update<T>({pool}, p, static_cast<Index>(w.size()), gradient.data(), w.data(),
                        m.data(), v.data());
  }
};

template <class T>
void expect_near(const State<T>& got, const State<double>& want, double steps) {
  // Every step adds a few roundings of w, m and v, all of them of order 1.
  const double allowed = tolerance<T>(steps * 4, largest(want.w, 1));
  expect_all_near(got.w, want.w, allowed, "w");
  expect_all_near(got.m, want.m, allowed, "m");
  expect_all_near(got.v, want.v, allowed, "v");
}

template <class T>
void expect_golden(const nlohmann::json& golden) {
  AdamProblem p{.lr = golden.at("lr"),
                .beta1 = golden.at("betas")[0],
                .beta2 = golden.at("betas")[1],
                .eps = golden.at("eps"),
                .weight_decay = golden.at("weight_decay"),
                .decoupled = golden.at("decoupled"),
                .step = 0};
  State<T> state(golden_values<T>(golden, "w_in"));
  for (const nlohmann::json& gradient : golden.at("gradients")) {
    ++p.step;
    state.step(p, gradient.get<std::vector<T>>());
  }
  State<double> want(golden_values<double>(golden, "w"));
  want.m = golden_values<double>(golden, "m");
  want.v = golden_values<double>(golden, "v");
  expect_near(state, want, static_cast<double>(p.step));
}

TEST(Adam, FiveStepsEqualPyTorch) {
  for (const nlohmann::json& golden : kernel_golden("adam")) {
    expect_golden<double>(golden);
    for_each_isa([&] { expect_golden<float>(golden); });
  }
}

TEST(Adam, FloatEqualsDoubleForEveryTailAndAnyThreads) {
  for (bool decoupled : {false, true}) {
    for (Index count : {1, 3, 8, 16, 24, 33, 96, 40001}) {
      const AdamProblem p{.weight_decay = 0.01, .decoupled = decoupled, .step = 3};
      const auto w = random_uniform<double>(count, 1), g = random_uniform<double>(count, 2);
      State<double> want(w);
      want.step(p, g);
      for_each_isa([&] {
        State<float> one({w.begin(), w.end()}), three = one;
        one.step(p, {g.begin(), g.end()});
        three.step(p, {g.begin(), g.end()}, 3);
        expect_near(one, want, 1);
        EXPECT_EQ(one.w, three.w);
        EXPECT_EQ(one.v, three.v);
      });
    }
  }
}

}  // namespace
}  // namespace dfengine::test
