// Data and comparisons shared by the convolution tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/random.h"
#include "kernels/shape.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {

template <class T>
using Values = std::vector<T>;

inline std::size_t size_of(Index count) {
  return static_cast<std::size_t>(count);
}

// Floats in [-1, 1), exactly representable in both types.
template <class T>
Values<T> random_values(Index count, std::uint64_t seed) {
  Random random(seed, RandomStream::Synth, 0);
  Values<T> values(size_of(count));
  for (T& v : values) v = static_cast<T>(static_cast<float>(random.uniform(-1, 1)));
  return values;
}

// Integers in [-3, 3]: sums of their products are exact in any order.
template <class T>
Values<T> small_integers(Index count, std::uint64_t seed) {
  Random random(seed, RandomStream::Synth, 1);
  Values<T> values(size_of(count));
  for (T& v : values) v = static_cast<T>(static_cast<int>(random.below(7)) - 3);
  return values;
}

// An output buffer of NaN between two strips of NaN: a value never written, or a write outside,
// stays visible.
template <class T>
class Guarded {
 public:
  explicit Guarded(Index count)
      : count_(count), values_(size_of(count + 2 * kStrip), std::numeric_limits<T>::quiet_NaN()) {}
  T* data() { return values_.data() + kStrip; }
  // The values; fails the test if a strip was written to.
  Values<T> checked() const {
    for (Index i = 0; i < kStrip; ++i) {
      EXPECT_TRUE(std::isnan(values_[size_of(i)])) << "written " << kStrip - i << " before";
      EXPECT_TRUE(std::isnan(values_[size_of(kStrip + count_ + i)]))
          << "written " << i << " behind";
    }
    return {values_.begin() + kStrip, values_.end() - kStrip};
  }

 private:
  // More than a tile of pixels of every channel count tested.
  static constexpr Index kStrip = 1024;
  Index count_;
  Values<T> values_;
};

inline Values<double> widened(const Values<float>& values) {
  return {values.begin(), values.end()};
}

inline Values<double> absolute(const Values<float>& values) {
  Values<double> result;
  for (float v : values) result.push_back(std::abs(v));
  return result;
}

inline double dot(const Values<double>& a, const Values<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline double dot_magnitude(const Values<double>& a, const Values<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] * b[i]);
  return sum;
}

// Each value within the tolerance of a sum of `terms` terms of the given absolute sums.
template <class T>
void expect_close(const Values<T>& actual, const Values<double>& expected, double terms,
                  const Values<double>& magnitude, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double allowed = tolerance<T>(terms, magnitude[i]);
    // Written so that a NaN fails.
    if (std::abs(actual[i] - expected[i]) <= allowed) continue;
    ADD_FAILURE() << what << ": element " << i << " is " << actual[i] << ", expected "
                  << expected[i] << " within " << allowed;
    return;
  }
}

inline const std::vector<Index> kSides{1, 2, 3, 5, 7, 8, 14};

// Calls body(name) for every instruction set of this machine, then restores the one in use.
template <class Body>
void for_each_isa(Body&& body) {
  const cpu::Isa before = cpu::current_isa();
  for (cpu::Isa isa : {cpu::Isa::Baseline, cpu::Isa::Avx2, cpu::Isa::Avx512}) {
    if (!cpu::isa_supported(isa)) continue;
    cpu::set_isa(isa);
    body(std::string(cpu::isa_name(isa)));
  }
  cpu::set_isa(before);
}

}  // namespace dfengine::test
