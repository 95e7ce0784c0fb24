// Choosing kernels by time: with made-up times, and that every candidate computes the same.
#include "kernels/cuda/tuning/tuner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "kernels/base/error.h"
#include "kernels/cuda/pointwise/pointwise_backward_choice.h"
#include "kernels/cuda/stem/stem_choice.h"
#include "tests/support/device.h"
#include "tests/support/random_data.h"
#include "tests/support/variable.h"

namespace dfengine::test {
namespace {

using cuda::Candidate;
using cuda::Choice;
using cuda::Tuner;

// What each round of a candidate "takes"; the last number stands for all later rounds.
constexpr double kFails = -1;
using Times = std::map<std::string, std::vector<double>>;

struct Clock {
  Times times;
  std::map<std::string, int> rounds = {};
  std::vector<std::string> problems = {};

  cuda::StartMeasuring start() {
    return [this](const cuda::TunerProblem& problem) -> cuda::Measure {
      problems.push_back(problem.key);
      return [this](const Candidate& c) {
        const std::vector<double>& t = times.at(c.name);
        const auto round = at(rounds[c.name]++);
        const double us = t[std::min(round, t.size() - 1)];
        if (us == kFails) throw DeviceError("no room for " + c.name);
        return us;
      };
    };
  }
};

// A launch that says which kernel it starts.
using Launch = std::string();
using Chosen = cuda::Chosen<Launch>;
using Kernels = std::vector<cuda::Kernel<Launch>>;

Kernels named(std::initializer_list<const char*> names) {
  Kernels kernels;
  for (const char* name : names)
    kernels.push_back({.name = name, .launch = [name] { return std::string(name); }});
  return kernels;
}

// Nothing runs in the tests that choose by made-up times.
std::function<void(cuda::Stream, std::span<void* const>)> on_operands(
    const std::function<Launch>&) {
  return nullptr;
}

Chosen choose(Tuner& tuner, std::initializer_list<const char*> own,
              const Tuner::Offer<Launch>& offer = nullptr, const char* key = "problem") {
  Chosen chosen =
      tuner.choose<Launch>({.key = key, .operands = {{.type = cuda::StorageType::F32, .count = 8}}},
                           named(own), offer, on_operands);
  EXPECT_EQ(chosen.launch(), chosen.name);
  return chosen;
}

// What a kernel holds beside the key's sizes, as the mean and deviation of pixels, is the caller's.
TEST(Tuner, AKnownAnswerStartsTheCallersOwnKernel) {
  Clock clock{{{"a", {5}}, {"b", {3}}}};
  Tuner tuner(clock.start());
  const auto started = [&](const std::string& caller) {
    Kernels kernels;
    for (const std::string name : {"a", "b"})
      kernels.push_back({.name = name, .launch = [=] { return name + " of " + caller; }});
    return tuner.choose<Launch>({.key = "problem", .operands = {}}, kernels, nullptr, on_operands)
        .launch();
  };
  EXPECT_EQ(started("one model"), "b of one model");
  EXPECT_EQ(started("another model"), "b of another model");
  EXPECT_EQ(clock.problems.size(), 1u);
}

TEST(Tuner, TheBestMedianWins) {
  // The first round warms up: b's would win, and each has one round that was disturbed.
  Clock clock{{{"a", {9, 9, 4, 9}}, {"b", {7, 30, 8, 8}}, {"c", {8, 8.5, 1, 8.5}}}};
  Tuner tuner(clock.start());
  const Chosen choice = choose(tuner, {"a", "b", "c"});
  EXPECT_TRUE(choice.timed);
  EXPECT_EQ(choice.name, "b");
  EXPECT_EQ(choice.us, 8);
  EXPECT_EQ(choice.rule, "a");
  EXPECT_EQ(choice.rule_us, 9);
  EXPECT_TRUE(choice.left_out.empty());
}

TEST(Tuner, TiesGoToTheEarlier) {
  Clock clock{{{"a", {5}}, {"b", {5}}, {"slow", {6}}}};
  Tuner tuner(clock.start());
  EXPECT_EQ(choose(tuner, {"a", "b"}).name, "a");
  EXPECT_EQ(choose(tuner, {"slow", "b", "a"}, nullptr, "another").name, "b");
}

TEST(Tuner, WhatIsFarBehindIsTimedOnceUnlessItIsTheRules) {
  Clock clock{{{"rule", {50}}, {"near", {14}}, {"far", {16}}, {"best", {10}}}};
  Tuner tuner(clock.start());
  const Chosen choice = choose(tuner, {"rule", "near", "far", "best"});
  EXPECT_EQ(choice.name, "best");
  EXPECT_EQ(choice.rule_us, 50);
  EXPECT_EQ(clock.rounds.at("far"), 1);
  EXPECT_GT(clock.rounds.at("near"), 1);
  EXPECT_EQ(clock.rounds.at("near"), clock.rounds.at("rule"));
}

TEST(Tuner, AProblemIsTimedOnce) {
  Clock clock{{{"a", {2}}, {"b", {1}}}};
  Tuner tuner(clock.start());
  const Chosen first = choose(tuner, {"a", "b"});
  // The same choice, whatever the order the second time.
  EXPECT_EQ(choose(tuner, {"b", "a"}), first);
  clock.times = {{"a", {1}}, {"b", {2}}};
  EXPECT_EQ(choose(tuner, {"a", "b"}, nullptr, "another").name, "a");
  EXPECT_EQ(clock.problems, (std::vector<std::string>{"problem", "another"}));
}

TEST(Tuner, WhatFailsIsLeftOutAndSaidSo) {
  // b fails at once, c later.
  Clock clock{{{"a", {3}}, {"b", {kFails}}, {"c", {2, 2, kFails}}}};
  Tuner tuner(clock.start());
  const Chosen choice = choose(tuner, {"b", "a", "c"});
  EXPECT_EQ(choice.name, "a");
  EXPECT_EQ(choice.rule, "b");
  EXPECT_EQ(choice.rule_us, 0);
  EXPECT_EQ(choice.left_out, (std::vector<std::string>{"b: no room for b", "c: no room for c"}));
}

TEST(Tuner, FailsWhenEverythingDoes) {
  Clock clock{{{"a", {kFails}}, {"b", {kFails}}}};
  Tuner tuner(clock.start());
  try {
    choose(tuner, {"a", "b"});
    FAIL() << "nothing was thrown";
  } catch (const DeviceError& e) {
    for (const char* part : {"problem", "a: no room for a", "b: no room for b"})
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Tuner, WhatFailedIsTimedAgain) {
  Clock clock{{{"a", {kFails, 2}}, {"b", {kFails, 1}}}};
  Tuner tuner(clock.start());
  EXPECT_THROW(choose(tuner, {"a", "b"}), DeviceError);
  EXPECT_EQ(choose(tuner, {"a", "b"}).name, "b");
}

TEST(Tuner, AChecksReasonIsKeptAndItIsAskedOnce) {
  Clock clock;
  Tuner tuner(clock.start());
  int asked = 0;
  const auto check = [&](const char* key, bool fails) {
    return tuner.passes(key, [&, fails] {
      ++asked;
      if (fails) throw DeviceError("differs by 3 %");
    });
  };
  EXPECT_TRUE(check("right", false));
  EXPECT_FALSE(check("wrong", true));
  EXPECT_TRUE(check("right", true));
  EXPECT_FALSE(check("wrong", false));
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(tuner.failed(), std::vector<std::string>{"wrong: differs by 3 %"});
}

TEST(Tuner, LibrariesAreAskedAndMayFail) {
  Clock clock{{{"own", {3}}, {"library", {2}}}};
  Tuner tuner(clock.start());
  const auto offer = [](cuda::Libraries&) { return named({"library"}); };
  EXPECT_EQ(choose(tuner, {"own"}, offer).name, "library");
  const auto fail = [](cuda::Libraries&) -> Kernels { throw DeviceError("not installed"); };
  // One candidate is left: nothing to time.
  const Chosen alone = choose(tuner, {"own"}, fail, "another");
  EXPECT_EQ(alone.name, "own");
  EXPECT_FALSE(alone.timed);
  EXPECT_EQ(alone.left_out, std::vector<std::string>{"library: not installed"});
  EXPECT_EQ(clock.problems, std::vector<std::string>{"problem"});
}

TEST(Tuner, WithoutRoomForTheBuffersTheRuleDecides) {
  Tuner tuner([](const cuda::TunerProblem&) -> cuda::Measure { throw DeviceError("no memory"); });
  const Chosen choice = choose(tuner, {"a", "b"});
  EXPECT_EQ(choice.name, "a");
  EXPECT_FALSE(choice.timed);
  EXPECT_EQ(choice.left_out, std::vector<std::string>{"not timed: no memory"});
}

TEST(Tuner, ScratchIsTheLargestOfAny) {
  std::vector<cuda::Operand> operands;
  Tuner tuner([&](const cuda::TunerProblem& problem) -> cuda::Measure {
    operands = problem.operands;
    return [](const Candidate&) { return 1.0; };
  });
  tuner.choose<Launch>(
      {.key = "problem", .operands = {{.type = cuda::StorageType::F16, .count = 8}}},
      {{.name = "a", .scratch = 6, .launch = {}}, {.name = "b", .scratch = 13, .launch = {}}},
      nullptr, on_operands);
  ASSERT_EQ(operands.size(), 2u);
  EXPECT_EQ(operands[0].bytes(), 16);
  EXPECT_GE(operands[1].bytes(), 13);
}

// Runs each candidate on the problem's operands, filled with whole numbers, so that sums in float
// are exact whatever their order: what it leaves there must be the same for all.
template <class T>
class Comparison {
 public:
  cuda::StartMeasuring start() {
    return [this](const cuda::TunerProblem& problem) -> cuda::Measure {
      return [this, problem](const Candidate& c) {
        if (!names_.insert(problem.key + ": " + c.name).second) return 1.0;  // a later round
        const auto got = after(problem, c);
        const auto [first, is_first] = results_.try_emplace(problem.key, got);
        EXPECT_TRUE(is_first || got == first->second) << problem.key << ": " << c.name;
        return 1.0;
      };
    };
  }
  std::size_t launched() const { return names_.size(); }

 private:
  using Values = std::vector<std::vector<double>>;

  // The operands after one launch, but for the last, which is scratch.
  static Values after(const cuda::TunerProblem& problem, const Candidate& candidate) {
    std::vector<std::unique_ptr<DeviceArray<T>>> stored;
    std::vector<std::unique_ptr<DeviceArray<float>>> floats;
    std::vector<void*> places;
    for (const auto& [type, count] : problem.operands) {
      const auto numbers = random_integers<double>(count, places.size() + 1);
      if (type == cuda::StorageType::F32) {
        places.push_back(
            floats.emplace_back(std::make_unique<DeviceArray<float>>(numbers))->data());
      } else {
        places.push_back(stored.emplace_back(std::make_unique<DeviceArray<T>>(numbers))->data());
      }
    }
    candidate.launch(nullptr, places);
    Values values;
    for (const auto& array : stored) values.push_back(array->values());
    for (const auto& array : floats) values.push_back(array->values());
    values.pop_back();
    return values;
  }

  std::map<std::string, Values> results_;
  std::set<std::string> names_;
};

template <class T>
void compare_candidates(const PointwiseProblem& p) {
  Comparison<T> comparison;
  Tuner tuner(comparison.start());
  for (bool norm : {false, true}) {
    cuda::choose_pointwise_forward<T>(&tuner, p, {}, norm);
    cuda::choose_pointwise_backward_weight<T>(&tuner, p, norm);
  }
  cuda::choose_pointwise_forward<T>(&tuner, p, {true, Activation::Relu6, true}, false);
  cuda::choose_pointwise_backward_data<T>(&tuner, p);
  cuda::choose_pointwise_backward<T>(&tuner, p);
  EXPECT_GE(comparison.launched(), 12u);
}

TEST(TunerDevice, EveryPointwiseCandidateComputesTheSame) {
  DF_NEEDS_DEVICE();
  compare_candidates<Half>(PointwiseProblem::make(Index{16} * 49, 96, 24));
  compare_candidates<BFloat16>(PointwiseProblem::make(Index{3} * 49, 40, 240));
}

// A library's kernel would leave the norm out.
TEST(PointwiseChoice, NoLibraryNormalisesOnLoad) {
  const auto library = [](cuda::Stream, const void*, const void*, Write, void*, void*) {};
  const float vector[8] = {};
  const NormOnLoad norm{.scale = vector, .shift = vector, .activation = Activation::Relu6};
  const auto forward = cuda::library_forward<Half>(PointwiseProblem::make(1, 8, 8), library);
  EXPECT_NO_THROW(forward(nullptr, nullptr, nullptr, {}, {}, nullptr, nullptr));
  EXPECT_THROW(forward(nullptr, nullptr, nullptr, {}, norm, nullptr, nullptr), Error);
  const auto weight = cuda::library_backward_weight<Half>(library);
  EXPECT_NO_THROW(weight(nullptr, nullptr, nullptr, {}, nullptr, nullptr));
  EXPECT_THROW(weight(nullptr, nullptr, nullptr, norm, nullptr, nullptr), Error);
}

// What a library's product lacks, a pass adds: the same whole numbers as the own kernel's.
template <class T>
void check_library_epilogue() {
  const PointwiseProblem p = PointwiseProblem::make(35, 24, 40);
  const auto library = cuda::library_forward<T>(
      p, [p](cuda::Stream stream, const void* x, const void* w, Write, void* y, void*) {
        cuda::pointwise_forward<T>(stream, p, static_cast<const T*>(x), static_cast<const T*>(w),
                                   {}, static_cast<T*>(y));
      });
  DeviceArray<T> x(random_integers<double>(p.m * p.c, 1)), w(random_integers<double>(p.k * p.c, 2));
  DeviceArray<float> bias(random_integers<double>(p.k, 3));
  for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
    for (float* b : {static_cast<float*>(nullptr), bias.data()}) {
      DeviceArray<T> own(p.m * p.k), passed(p.m * p.k);
      const Epilogue<T, float> epilogue{.bias = b, .activation = activation};
      cuda::pointwise_forward<T>(nullptr, p, x.data(), w.data(), epilogue, own.data());
      library(nullptr, x.data(), w.data(), epilogue, {}, nullptr, passed.data());
      EXPECT_EQ(passed.values(), own.values());
    }
  }
  EXPECT_THROW(library(nullptr, x.data(), w.data(), {.residual = x.data()}, {}, nullptr, nullptr),
               Error);
}

TEST(TunerDevice, ALibrarysProductGetsItsEpilogue) {
  DF_NEEDS_DEVICE();
  check_library_epilogue<Half>();
  check_library_epilogue<BFloat16>();
}

// What is chosen is launched: the rule's kernel and every other candidate, by the function that a
// plan keeps, compute what the launcher by rule does.
template <class T>
void expect_chosen_launch(const std::string& best) {
  const PointwiseProblem p = PointwiseProblem::make(98, 24, 56);
  Tuner tuner([&](const cuda::TunerProblem&) -> cuda::Measure {
    return [&](const Candidate& c) { return c.name == best ? 1.0 : 2.0; };
  });
  const auto chosen = cuda::choose_pointwise_forward<T>(&tuner, p, {}, false);
  EXPECT_EQ(chosen.name, best);
  DeviceArray<T> x(random_integers<double>(p.m * p.c, 1)), w(random_integers<double>(p.k * p.c, 2)),
      by_rule(p.m * p.k), by_choice(p.m * p.k);
  cuda::pointwise_forward<T>(nullptr, p, x.data(), w.data(), {}, by_rule.data());
  chosen.launch(nullptr, x.data(), w.data(), {}, {}, nullptr, by_choice.data());
  EXPECT_EQ(by_choice.values(), by_rule.values());
}

TEST(TunerDevice, TheChosenKernelIsLaunched) {
  DF_NEEDS_DEVICE();
  expect_chosen_launch<Half>("64x64x64");
  expect_chosen_launch<Half>("32x32x64");
  expect_chosen_launch<float>("own");
}

TEST(Choice, IsDescribedInWords) {
  const auto p = PointwiseProblem::make(2, 8, 8);
  EXPECT_EQ(describe(cuda::choose_pointwise_forward<Half>(nullptr, p, {}, false)),
            "32x32x64, by rule");
  EXPECT_EQ(describe(cuda::choose_pointwise_forward<float>(nullptr, p, {}, false)), "own");
  Choice choice{.name = "a", .timed = true, .us = 31.25, .rule = "b", .rule_us = 33};
  EXPECT_EQ(describe(choice), "a, 31.2 us (rule: b, 33.0 us)");
  choice.rule = "a";
  EXPECT_EQ(describe(choice), "a, 31.2 us");
}

TEST(TunerDevice, EveryStemCandidateComputesTheSame) {
  DF_NEEDS_DEVICE();
  const Variable cudnn("DFENGINE_CUDNN", "1");
  Comparison<Half> comparison;
  Tuner tuner(comparison.start());
  for (Padding padding : {Padding::Torch, Padding::TfSame}) {
    const auto p = StemProblem::make({2, 20, 18, 3}, 16, padding);
    EXPECT_EQ(cuda::choose_stem_forward<Half>(&tuner, p, {}).name, "own");
  }
}

}  // namespace
}  // namespace dfengine::test
