// Vectors of random numbers for tests and benchmarks: the same for the same seed, everywhere.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/base/random.h"

namespace dfengine::test {

// Uniform in [low, high), rounded to float first, so that float and double tests get equal values.
template <class T>
std::vector<T> random_uniform(std::int64_t count, std::uint64_t seed, double low = -1.0,
                              double high = 1.0) {
  Random random(seed, RandomStream::Init, 0);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = static_cast<T>(static_cast<float>(random.uniform(low, high)));
  return values;
}

// Whole numbers in [low, high]: sums of products of small ones stay exact in float.
template <class T>
std::vector<T> random_integers(std::int64_t count, std::uint64_t seed, int low = -3, int high = 3) {
  Random random(seed, RandomStream::Init, 1);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values)
    value =
        static_cast<T>(low + static_cast<int>(random.below(static_cast<unsigned>(high - low + 1))));
  return values;
}

template <class To, class From>
std::vector<To> converted(const std::vector<From>& from) {
  std::vector<To> to;
  to.reserve(from.size());
  for (From value : from) to.push_back(static_cast<To>(value));
  return to;
}

}  // namespace dfengine::test
