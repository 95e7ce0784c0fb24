// What the kernel tests share: random data, targets, comparison of arrays.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/base/thread_pool.h"
#include "tests/support/random_data.h"
#include "tests/support/targets.h"

namespace dfengine::test {

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
