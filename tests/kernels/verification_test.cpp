// A candidate that computes something else, writes where it must not or fails is left out, whatever
// its time. What is chosen from are made-up kernels, run on the device.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <memory>

#include "kernels/base/error.h"
#include "kernels/cuda/depthwise/depthwise_choice.h"
#include "kernels/cuda/pointwise/pointwise_choice.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/tuning/tuner.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

using cuda::Tuner;
using Launch = void(cuda::Stream, std::span<void* const>);
using Kernels = std::vector<cuda::Kernel<Launch>>;

constexpr Index kCount = 1000;
// No time counts here.
constexpr Index kFarApart = 1 << 18;

// Queues that operand[first...] has these values, which wait on the device: what a captured graph
// copies must not lie in host memory.
template <class T>
std::function<Launch> writes(std::size_t operand, Index first, const std::vector<double>& values) {
  const auto source = std::make_shared<DeviceArray<T>>(values);
  const Index bytes = std::ssize(values) * Index{sizeof(T)};
  return [=](cuda::Stream stream, std::span<void* const> operands) {
    cuda::copy_on_device(stream, static_cast<T*>(operands[operand]) + first, source->data(), bytes);
  };
}

// A kernel whose result is 1, 2, 3...; change makes a faulty one of it.
template <class T>
cuda::Kernel<Launch> counts(const std::string& name, const std::function<Launch>& change = {}) {
  std::vector<double> values;
  for (Index i = 0; i < kCount; ++i) values.push_back(static_cast<double>(i % 100) + 1);
  const auto result = writes<T>(1, 0, values);
  return {.name = name, .launch = [=](cuda::Stream stream, std::span<void* const> operands) {
            result(stream, operands);
            if (change) change(stream, operands);
          }};
}

// An input, an output and, from the tuner, scratch.
template <class T>
cuda::Choice choose(const Kernels& kernels, double magnitude = 100, cuda::DenyList denied = {}) {
  const cuda::OwnedStream stream = cuda::make_stream();
  Tuner tuner(cuda::device_timing(stream.get(), kFarApart), std::move(denied));
  const cuda::TunerProblem problem{
      .key = "counting",
      .operands = {{cuda::storage_type<T>(), 2 * kCount}, {cuda::storage_type<T>(), kCount}},
      .output = 1,
      .terms = 1,
      .magnitude = magnitude};
  return tuner.choose<Launch>(problem, kernels, nullptr, [](const auto& launch) { return launch; });
}

template <class T>
class Verification : public testing::Test {
 protected:
  void SetUp() override { DF_NEEDS_DEVICE(); }

  // What is left out is the faulty kernel, for this reason.
  static void expect_left_out(const cuda::Kernel<Launch>& faulty, const std::string& reason) {
    const cuda::Choice choice = choose<T>({counts<T>("rule"), faulty, counts<T>("right")});
    EXPECT_NE(choice.name, "faulty");
    ASSERT_EQ(choice.left_out.size(), 1u) << reason;
    EXPECT_NE(choice.left_out[0].find("faulty: " + reason), std::string::npos)
        << choice.left_out[0];
  }
  static void expect_change_left_out(const std::function<Launch>& change,
                                     const std::string& reason) {
    expect_left_out(counts<T>("faulty", change), reason);
  }
};
struct TypeNames {
  template <class T>
  static std::string GetName(int) {
    return std::string("Device") + cuda::name_of(cuda::storage_type<T>());
  }
};
using Types = testing::Types<Half, BFloat16, float>;
TYPED_TEST_SUITE(Verification, Types, TypeNames);

TYPED_TEST(Verification, EqualKernelsAreAllTimed) {
  const cuda::Choice choice =
      choose<TypeParam>({counts<TypeParam>("rule"), counts<TypeParam>("other")});
  EXPECT_TRUE(choice.timed);
  EXPECT_TRUE(choice.left_out.empty()) << choice.left_out[0];
}

// The tolerance is that of two sums of one term and two roundings: the next number passes, one that
// lies twice as far apart as is allowed does not.
TYPED_TEST(Verification, AnotherRoundingPassesAndTwiceAsMuchDoesNot) {
  using T = TypeParam;
  const double next = 8 * unit_roundoff<T>();  // of the numbers from 4 to 8
  const double allowed =
      2 * (accumulation_error<float>(1, 100) + unit_roundoff<T>() * 7) + 2 * underflow<T>();
  const auto seventh = [](double value) { return counts<T>("faulty", writes<T>(1, 6, {value})); };
  const cuda::Choice near = choose<T>({counts<T>("rule"), seventh(7 + next)});
  EXPECT_TRUE(near.left_out.empty()) << near.left_out[0];
  this->expect_left_out(seventh(7 + 2 * allowed), "differs from rule: y[6] is 7.");
}

TYPED_TEST(Verification, OneNumberThatDiffersIsFound) {
  using T = TypeParam;
  for (const Index i : {Index{0}, Index{511}, kCount - 1})
    this->expect_change_left_out(writes<T>(1, i, {101}),
                                 "differs from rule: y[" + std::to_string(i) + "] is 101, not ");
  for (const double value :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    this->expect_change_left_out(writes<T>(1, 700, {value}), "differs from rule: y[700] is ");
}

// Sums of many terms of both signs are far below their magnitude: each number may then be off by
// more than a part that a kernel leaves out.
TYPED_TEST(Verification, APartThatAllNumbersLackIsFound) {
  using T = TypeParam;
  constexpr double kMagnitude = 4e7;
  static_assert(2 * 8 * unit_roundoff<float>() * kMagnitude > 25);
  std::vector<double> values;
  for (Index i = 0; i < kCount; ++i) values.push_back(.75 * static_cast<double>(i % 100 + 1));
  const cuda::Choice choice = choose<T>(
      {counts<T>("rule"), counts<T>("faulty", writes<T>(1, 0, values)), counts<T>("right")},
      kMagnitude);
  EXPECT_NE(choice.name, "faulty");
  ASSERT_EQ(choice.left_out.size(), 1u);
  EXPECT_NE(choice.left_out[0].find("faulty: differs from rule: y as a whole: by 0.2"),
            std::string::npos)
      << choice.left_out[0];
}

// The output does not still hold what another kernel wrote.
TYPED_TEST(Verification, AKernelThatWritesNothingIsFound) {
  this->expect_left_out({.name = "faulty", .launch = [](cuda::Stream, std::span<void* const>) {}},
                        "differs from rule: y[0] is ");
}

TYPED_TEST(Verification, WritesBesideTheOutputAreFound) {
  using T = TypeParam;
  constexpr Index kStripCount = 1024 / Index{sizeof(T)} - 1;
  this->expect_change_left_out(writes<T>(1, kCount, {1}), "writes behind operand 1");
  this->expect_change_left_out(writes<T>(1, kCount + kStripCount, {1}), "writes behind operand 1");
  this->expect_change_left_out(writes<T>(1, -1, {1}), "writes behind operand 0");
  this->expect_change_left_out(writes<T>(0, -1, {1}), "writes before its operands");
}

// Scratch has room for the candidate that wants most; another one that uses it has booked too
// little.
TYPED_TEST(Verification, WritesBehindItsOwnScratchAreFound) {
  using T = TypeParam;
  cuda::Kernel<Launch> most = counts<T>("most");
  most.scratch = 4096;
  cuda::Kernel<Launch> little = counts<T>("little", writes<T>(2, 64 / Index{sizeof(T)}, {1}));
  little.scratch = 64;
  cuda::Choice choice = choose<T>({counts<T>("rule"), most, little});
  ASSERT_EQ(choice.left_out.size(), 1u);
  EXPECT_EQ(choice.left_out[0], "little: writes behind its scratch");
  little.scratch += Index{sizeof(T)};
  choice = choose<T>({counts<T>("rule"), most, little});
  EXPECT_TRUE(choice.left_out.empty()) << choice.left_out[0];
}

// Of two results both are compared, and neither still holds what another kernel wrote.
TYPED_TEST(Verification, AFurtherResultThatDiffersIsFound) {
  using T = TypeParam;
  const auto kernel = [](const char* name, const std::function<Launch>& further) {
    return counts<T>(name, further);
  };
  const auto choice_of = [&](const std::function<Launch>& further) {
    const cuda::OwnedStream stream = cuda::make_stream();
    Tuner tuner(cuda::device_timing(stream.get(), kFarApart));
    const auto right = writes<float>(2, 0, {5, 6});
    return tuner.choose<Launch>(
        {.key = "counting",
         .operands = {{cuda::storage_type<T>(), 2 * kCount},
                      {cuda::storage_type<T>(), kCount},
                      {cuda::StorageType::F32, 2}},
         .output = 1,
         .terms = 1,
         .magnitude = 100,
         .further = cuda::TunerProblem::Further{.operand = 2, .terms = 1, .magnitude = 6}},
        {kernel("rule", right), kernel("faulty", further), kernel("right", right)}, nullptr,
        [](const auto& launch) { return launch; });
  };
  EXPECT_TRUE(choice_of(writes<float>(2, 0, {5, 6})).left_out.empty());
  for (const auto& faulty : {writes<float>(2, 0, {5, 7}), std::function<Launch>()}) {
    const cuda::Choice choice = choice_of(faulty);
    ASSERT_EQ(choice.left_out.size(), 1u);
    EXPECT_NE(choice.left_out[0].find("faulty: differs from rule: its further result["),
              std::string::npos)
        << choice.left_out[0];
  }
}

// An output that is read before it is written, as a residual's, is the same for all.
TYPED_TEST(Verification, EveryKernelFindsTheSameOutput) {
  using T = TypeParam;
  const auto keeps_half = [](cuda::Stream stream, std::span<void* const> operands) {
    auto* const y = static_cast<T*>(operands[1]);
    cuda::copy_on_device(stream, y, y + kCount / 2, kCount / 2 * Index{sizeof(T)});
  };
  const auto kernel = [&](const char* name) {
    return cuda::Kernel<Launch>{.name = name, .launch = keeps_half};
  };
  const cuda::Choice choice = choose<T>({kernel("rule"), kernel("other")}, 1);
  EXPECT_TRUE(choice.left_out.empty()) << choice.left_out[0];
}

// A rule's kernel that cannot be used is none to compare with: the next one is.
TYPED_TEST(Verification, AFaultyRuleIsLeftOutToo) {
  using T = TypeParam;
  const auto nan = writes<T>(1, 3, {std::numeric_limits<double>::quiet_NaN()});
  const cuda::Choice choice =
      choose<T>({counts<T>("faulty", nan), counts<T>("first"), counts<T>("second")});
  ASSERT_EQ(choice.left_out.size(), 1u);
  EXPECT_NE(choice.left_out[0].find("faulty: computes what is not finite: y[3] is nan"),
            std::string::npos)
      << choice.left_out[0];
  EXPECT_NE(choice.name, "faulty");
}

// Tunes as on a device.
struct Passing {
  cuda::OwnedStream stream = cuda::make_stream();
  Tuner tuner{cuda::device_timing(stream.get(), kFarApart)};
  int timed = 0;

  void expect(const cuda::Choice& choice) {
    timed += choice.timed;
    // Of a library that cannot be opened, as where PTX is interpreted, there is no candidate.
    for (const std::string& reason : choice.left_out)
      if (!reason.starts_with("library: ")) ADD_FAILURE() << reason;
  }
};

// Every candidate of the real problems passes, with everything an epilogue has.
template <class T>
void expect_all_pass(const PointwiseProblem& p) {
  Passing of;
  for (const bool norm : {false, true}) {
    of.expect(cuda::choose_pointwise_forward<T>(&of.tuner, p, {}, norm));
    of.expect(cuda::choose_pointwise_moments<T>(&of.tuner, p, norm));
    of.expect(cuda::choose_pointwise_backward_weight<T>(&of.tuner, p, norm));
  }
  of.expect(
      cuda::choose_pointwise_forward<T>(&of.tuner, p, {true, Activation::Relu6, true}, false));
  of.expect(cuda::choose_pointwise_backward_data<T>(&of.tuner, p));
  EXPECT_GE(of.timed, 4);
}
template <class T>
void expect_all_pass(const DepthwiseProblem& p) {
  Passing of;
  of.expect(cuda::choose_depthwise_moments<T>(&of.tuner, p, true));
  for (const bool loads : {false, true})
    of.expect(cuda::choose_depthwise_backward<T>(&of.tuner, p, loads).choice);
  EXPECT_EQ(of.timed, 3);
  EXPECT_TRUE(of.tuner.failed().empty());
}

TEST(VerificationDevice, EveryPointwiseCandidatePasses) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  expect_all_pass<Half>(PointwiseProblem::make(98, 96, 24));
  expect_all_pass<BFloat16>(PointwiseProblem::make(147, 40, 240));
}

TEST(VerificationDevice, EveryDepthwiseCandidatePasses) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  expect_all_pass<Half>(DepthwiseProblem::make({2, 18, 15, 40}, 1, Padding::Torch));
  expect_all_pass<BFloat16>(DepthwiseProblem::make({2, 18, 15, 40}, 2, Padding::TfSame));
}

}  // namespace
}  // namespace dfengine::test
