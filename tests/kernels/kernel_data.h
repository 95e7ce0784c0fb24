// What the kernel tests share: random data, every supported instruction set, comparison of arrays.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/random.h"
#include "kernels/shape.h"

namespace dfengine::test {

// Uniform values that a float holds exactly, so that float and double kernels see the same input.
template <class T>
std::vector<T> random_values(Index count, std::uint64_t seed, double low = -1, double high = 1) {
  Random random(seed, RandomStream::Init, 0);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& v : values) v = static_cast<T>(static_cast<float>(random.uniform(low, high)));
  return values;
}

// Integers in [low, high]: sums of them are exact.
template <class T>
std::vector<T> random_integers(Index count, std::uint64_t seed, int low, int high) {
  Random random(seed, RandomStream::Init, 1);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& v : values)
    v = static_cast<T>(low + static_cast<int>(random.below(static_cast<unsigned>(high - low + 1))));
  return values;
}

template <class T>
std::vector<double> widen(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

// Runs body once per instruction set of this machine, then goes back to the one in use.
inline void for_each_isa(const std::function<void()>& body) {
  const cpu::Isa before = cpu::current_isa();
  for (cpu::Isa isa : {cpu::Isa::Baseline, cpu::Isa::Avx2, cpu::Isa::Avx512}) {
    if (!cpu::isa_supported(isa)) continue;
    SCOPED_TRACE(cpu::isa_name(isa));
    cpu::set_isa(isa);
    body();
  }
  cpu::set_isa(before);
}

// Largest absolute value, at least `floor`.
template <class T>
double largest(const std::vector<T>& values, double floor = 0) {
  for (T v : values) floor = std::max(floor, std::abs(static_cast<double>(v)));
  return floor;
}

template <class T, class U>
void expect_all_near(const std::vector<T>& got, const std::vector<U>& want, double tolerance,
                     const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    ASSERT_FALSE(!(error <= tolerance)) << what << "[" << i << "]: got " << got[i] << ", want "
                                        << want[i] << ", tolerance " << tolerance;
  }
}

}  // namespace dfengine::test
