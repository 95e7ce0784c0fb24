// Where kernels run: the columns of the test matrix. A typed test over Targets runs one body on
// each; how a target stores numbers, and in which ways it may run, stands here and nowhere else.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "kernels/base/stored.h"
#include "kernels/cpu/context.h"
#include "kernels/cpu/isa.h"
#include "tests/support/device.h"

namespace dfengine::test {

using Doubles = std::vector<double>;

// A DeviceArray's twin in host memory. Strip: more than a tile of pixels of every channel count
// tested.
template <class T, std::size_t Strip = 1024>
class HostArray {
 public:
  // NaN: a value that is read, or never written, shows.
  explicit HostArray(Index count)
      : HostArray(Doubles(at(count), std::numeric_limits<double>::quiet_NaN())) {}
  explicit HostArray(const Doubles& values)
      : all_(values.size() + 2 * kStrip, stored<T>(std::numeric_limits<double>::quiet_NaN())) {
    for (std::size_t i = 0; i < values.size(); ++i) all_[kStrip + i] = stored<T>(values[i]);
  }

  T* data() { return all_.data() + kStrip; }

  // Fails the test if a strip was written to.
  Doubles values() const {
    for (std::size_t i = 0; i < kStrip; ++i) {
      EXPECT_TRUE(std::isnan(value_of(all_[i]))) << "written " << kStrip - i << " before";
      EXPECT_TRUE(std::isnan(value_of(all_[all_.size() - 1 - i])))
          << "written " << kStrip - i << " behind";
    }
    Doubles inside;
    for (std::size_t i = kStrip; i < all_.size() - kStrip; ++i) inside.push_back(value_of(all_[i]));
    return inside;
  }

 private:
  static constexpr std::size_t kStrip = Strip;
  std::vector<T> all_;
};

// Value is what activations are stored in; Sum what is summed in, and what biases, statistics and
// parameter gradients are held in.
template <class T>
struct Cpu {
  using Value = T;
  using Sum = SumOf<T>;
  template <class S>
  using Array = HostArray<S>;
  static constexpr bool kOnDevice = false;
  int threads = 1;

  cpu::Context context() const {
    static ThreadPool one(1), two(2), three(3);
    return {threads == 1 ? one : threads == 2 ? two : three};
  }
};

template <class T>
struct Device {
  using Value = T;
  using Sum = float;
  template <class S>
  using Array = DeviceArray<S>;
  static constexpr bool kOnDevice = true;
};

using Targets = testing::Types<Cpu<double>, Cpu<float>, Cpu<BFloat16>, Device<Half>,
                               Device<BFloat16>, Device<float>>;
// Where Cpu<double> is the oracle, which other tests check.
using RoundingTargets =
    testing::Types<Cpu<float>, Cpu<BFloat16>, Device<Half>, Device<BFloat16>, Device<float>>;

// What stands behind the pool - head, loss, optimiser - is in float on devices.
using HeadTargets = testing::Types<Cpu<double>, Cpu<float>, Device<float>>;
using FloatTargets = testing::Types<Cpu<float>, Device<float>>;

template <class Target>
using ValuesOn = typename Target::template Array<typename Target::Value>;
template <class Target>
using SumsOn = typename Target::template Array<typename Target::Sum>;

// tests/gpu.sh selects by the word Device.
template <class Target>
std::string target_name() {
  using T = typename Target::Value;
  const std::string type = std::is_same_v<T, Half>       ? "Half"
                           : std::is_same_v<T, BFloat16> ? "BFloat16"
                           : std::is_same_v<T, float>    ? "Float"
                                                         : "Double";
  return (Target::kOnDevice ? "Device" : "Cpu") + type;
}

struct TargetNames {
  template <class Target>
  static std::string GetName(int) {
    return target_name<Target>();
  }
};

// What typed tests derive from: skips where the target is not there.
template <class Target>
class OnTarget : public testing::Test {
 protected:
  void SetUp() override {
    if constexpr (Target::kOnDevice) DF_NEEDS_DEVICE();
    if constexpr (std::is_same_v<Target, Cpu<BFloat16>>)
      if (!cpu::bf16_supported()) GTEST_SKIP() << "this CPU does not compute in bf16";
  }
};

// Runs body once per instruction set of this machine, then goes back to the one in use.
template <class Body>
void for_each_isa(Body&& body) {
  const cpu::Isa before = cpu::current_isa();
  for (cpu::Isa isa : {cpu::Isa::Baseline, cpu::Isa::Avx2, cpu::Isa::Avx512}) {
    if (!cpu::isa_supported(isa)) continue;
    SCOPED_TRACE(cpu::isa_name(isa));
    cpu::set_isa(isa);
    body();
  }
  cpu::set_isa(before);
}

// Runs body once per code that this target may choose, each of which may round differently.
template <class Target, class Body>
void for_each_code(Body&& body) {
  if constexpr (std::is_same_v<Target, Cpu<float>>) {
    for_each_isa(body);
  } else {
    body();
  }
}

// Calls body(target) for every way to run the same code, none of which may change a bit: numbers of
// threads on the CPU, the order of threads on the stand-in, once more on a GPU.
template <class Target, class Body>
void for_each_schedule(Body&& body) {
  if constexpr (Target::kOnDevice) {
    if (!cuda::is_emulated()) body(Target{});
    for_each_thread_order([&] { body(Target{}); });
  } else {
    for (int threads : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << threads << " threads");
      body(Target{threads});
    }
  }
}

// What run(target) gives, the same bits for every schedule.
template <class Target, class Run>
auto same_for_every_schedule(Run&& run) {
  std::optional<decltype(run(Target{}))> first;
  for_each_schedule<Target>([&](const Target& on) {
    auto got = run(on);
    if (!first) {
      first = std::move(got);
    } else {
      EXPECT_TRUE(got == *first) << "the schedule changes bits";
    }
  });
  return *std::move(first);
}

// Each value within the tolerance of a sum of `terms` terms of the given absolute sums, added up as
// the target does and stored as T.
template <class Target, class T = typename Target::Value>
void expect_close(const Doubles& actual, const Doubles& expected, double terms,
                  const Doubles& magnitude, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double allowed = tolerance<T, typename Target::Sum>(terms, magnitude[i]);
    // Written so that a NaN fails.
    ASSERT_TRUE(std::abs(actual[i] - expected[i]) <= allowed)
        << what << "[" << i << "] is " << actual[i] << ", expected " << expected[i] << " within "
        << allowed;
  }
}

}  // namespace dfengine::test
