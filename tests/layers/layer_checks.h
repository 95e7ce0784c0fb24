// What every layer's kernels are held to: gradients against central differences in double, results
// of every other backend against double; and what a kernel promises its plan about memory: skipped,
// accumulated and shared gradients.
#pragma once

#include "tests/support/gradcheck.h"

namespace dfengine::test {

// Which gradients a layer has.
struct Wanted {
  std::vector<std::size_t> dx = {0};
  std::size_t dparams = 0;  // the first so many parameters are learned
};

// The call that asks for these and no others.
inline BackwardCall call_for(const LayerRun& run, const Wanted& wanted) {
  BackwardCall call;
  for (std::size_t k = 0; k < run.x.size(); ++k)
    if (std::ranges::find(wanted.dx, k) == wanted.dx.end()) call.skip_dx.push_back(k);
  for (std::size_t k = wanted.dparams; k < run.params.size(); ++k) call.skip_dparams.push_back(k);
  return call;
}

// Result k within allowed[k] and the rounding of an element.
inline void expect_results(const std::vector<Doubles>& got, const std::vector<Doubles>& want,
                           const std::vector<double>& allowed, Element element) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t k = 0; k < got.size(); ++k) {
    ASSERT_EQ(got[k].size(), want[k].size()) << "result " << k;
    for (std::size_t i = 0; i < got[k].size(); ++i) {
      const double bound = allowed[k] + rounding(element, 1, std::abs(want[k][i]));
      // Written so that a NaN fails.
      ASSERT_TRUE(std::abs(got[k][i] - want[k][i]) <= bound)
          << "result " << k << "[" << i << "] is " << got[k][i] << ", expected " << want[k][i]
          << " within " << bound;
    }
  }
}

// In double every gradient against differences of sum(dy * y); elsewhere everything against the
// double run with the same numbers, whatever it is stored in.
inline void check_numbers(LayerRun& run, const Wanted& wanted) {
  const BackwardCall all = call_for(run, wanted);
  if (run.backend().element() != Element::F64) {
    const LayerRun exact = run.oracle(oracle_backend());
    const auto results = [&](const LayerRun& layer) { return layer.everything(all); };
    const Results want = results(exact);
    return expect_results(run.everything(all), want, float_condition(exact, want, results),
                          run.backend().element());
  }
  const LayerGradients got = run.backward(all);
  const auto value = [&] { return dot(run.dy, run.forward(true)); };
  const double scale = magnitude(run.dy, run.forward(true));
  for (std::size_t k : wanted.dx)
    expect_gradient(run.x[k], got.dx[k], value, scale, "dx " + std::to_string(k));
  for (std::size_t k = 0; k < wanted.dparams; ++k)
    expect_gradient(run.params[k], got.dparams[k], value, scale, "dparams " + std::to_string(k));
}

// Leaving one gradient out changes none of the others.
inline void check_skipping(const LayerRun& run, const Wanted& wanted, const BackwardCall& all,
                           const LayerGradients& got) {
  for (std::size_t k : wanted.dx) {
    BackwardCall call = all;
    call.skip_dx.push_back(k);
    LayerGradients expected = got;
    expected.dx[k].clear();
    const LayerGradients without = run.backward(call);
    EXPECT_EQ(without.dparams, expected.dparams) << "without dx " << k;
    for (std::size_t other : wanted.dx) EXPECT_EQ(without.dx[other], expected.dx[other]);
  }
  for (std::size_t k = 0; k < wanted.dparams; ++k) {
    BackwardCall call = all;
    call.skip_dparams.push_back(k);
    const LayerGradients without = run.backward(call);
    for (std::size_t other : wanted.dx)
      EXPECT_EQ(without.dx[other], got.dx[other]) << "without dparams " << k;
    for (std::size_t other = 0; other < wanted.dparams; ++other)
      if (other != k) {
        EXPECT_EQ(without.dparams[other], got.dparams[other]) << "without " << k;
      }
  }
}

inline void check_accumulation(const LayerRun& run, const Wanted& wanted, BackwardCall call,
                               const LayerGradients& got) {
  for (std::size_t k = 0; k < run.x.size(); ++k)
    call.add_to.push_back(
        held(run.dx_spec(k).element, random_uniform<double>(run.dx_spec(k).shape.count(), 71)));
  const LayerGradients sum = run.backward(call);
  for (std::size_t k : wanted.dx)
    for (std::size_t i = 0; i < got.dx[k].size(); ++i) {
      const double a = call.add_to[k][i], b = got.dx[k][i];
      const double size = std::abs(a) + std::abs(b) + magnitude(run.dy, run.dy);
      ASSERT_NEAR(sum.dx[k][i], a + b, rounding(run.dx_spec(k).element, 1, size))
          << "added dx " << k;
    }
  EXPECT_EQ(sum.dparams, got.dparams) << "parameter gradients are always overwritten";
}

inline void check_promises(const LayerRun& run, const Wanted& wanted) {
  const BackwardCall all = call_for(run, wanted);
  const LayerGradients got = run.backward(all);
  check_skipping(run, wanted, all, got);
  const Needs needs = run.kernel(true).needs;
  if (!needs.dx_overwrites && !wanted.dx.empty()) check_accumulation(run, wanted, all, got);
  if (needs.dx_may_be_dy) {
    BackwardCall shared = all;
    shared.dx_is_dy = true;
    EXPECT_EQ(run.backward(shared).dx[0], got.dx[0]) << "dx in dy's memory";
  }
  if (needs.overwrites_input >= 0) {
    EXPECT_EQ(run.forward(true, true), run.forward(true)) << "y in x's memory";
  }
}

inline void check_layer(LayerRun& run, const Wanted& wanted) {
  check_numbers(run, wanted);
  check_promises(run, wanted);
}

// Forward for inference is forward before a backward, in place or not.
inline void check_inference(const Backend& backend, const Operation& operation,
                            const std::vector<Spec>& in, std::uint64_t seed) {
  const LayerRun run(backend, operation, in, Phase::Infer, seed);
  const Doubles y = run.forward(false);
  EXPECT_EQ(y, run.forward(true)) << "inference form";
  if (run.kernel(false).needs.overwrites_input >= 0) {
    EXPECT_EQ(y, run.forward(false, true)) << "inference in place";
  }
}

// The value before the activation, in double, must be clear of its kinks. plain: the operation
// without it.
inline void expect_clear_of_kinks(const Operation& plain, const LayerRun& run,
                                  Activation activation) {
  const LayerRun exact = run.oracle(oracle_backend());
  LayerRun probe(oracle_backend(), plain, {exact.in(0)}, Phase::Train, 0);
  probe.x = exact.x;
  probe.params = exact.params;
  ASSERT_GT(kink_distance(probe.forward(true), activation), kKinkDistance);
}

// Devices load vectors of eight channels.
template <class Target>
constexpr Index channels(Index c) {
  return Target::kOnDevice ? (c + 7) / 8 * 8 : c;
}

inline constexpr Padding kPaddings[] = {Padding::Torch, Padding::TfSame};
inline constexpr Activation kActivations[] = {Activation::None, Activation::Relu,
                                              Activation::Relu6};

}  // namespace dfengine::test
