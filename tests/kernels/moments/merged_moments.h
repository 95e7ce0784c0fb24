// The moments that kernels leave in parts (kernels/channel_moments.h), merged in double, beside
// those of what was stored.
#pragma once

#include "kernels/channel_moments.h"
#include "tests/kernels/kernel_data.h"

namespace dfengine::test {

// Of all rows, with Chan's formula in double.
struct Merged {
  double rows = 0;
  Doubles means, squares;
};

inline Merged merged(const Doubles& parts, Index c) {
  Merged all{0, Doubles(at(c), 0.0), Doubles(at(c), 0.0)};
  for (std::size_t from = 0; from < parts.size(); from += at(ChannelMoments::pitch(c))) {
    const double n = parts[from], total = all.rows + n;
    for (std::size_t k = 0; k < at(c); ++k) {
      const std::size_t mean = from + at(ChannelMoments::kHead) + k;
      const double delta = parts[mean] - all.means[k];
      all.means[k] += delta * n / total;
      all.squares[k] += parts[mean + at(c)] + delta * delta * all.rows * n / total;
    }
    all.rows = total;
  }
  return all;
}

// The formula on numbers that are held exactly.
inline Merged exact_moments(const Doubles& y, Index c) {
  Merged all{static_cast<double>(y.size()) / static_cast<double>(c), Doubles(at(c), 0.0),
             Doubles(at(c), 0.0)};
  for (std::size_t i = 0; i < y.size(); ++i) all.means[i % at(c)] += y[i] / all.rows;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double d = y[i] - all.means[i % at(c)];
    all.squares[i % at(c)] += d * d;
  }
  return all;
}

// The parts hold all rows of y [rows, C], and their moments are those of what was stored.
inline void expect_moments(const Doubles& parts, const Doubles& y, Index c) {
  const Merged got = merged(parts, c), want = exact_moments(y, c);
  const double size = largest(y, 1);
  EXPECT_EQ(got.rows, want.rows);
  expect_all_near(got.means, want.means, tolerance<float>(want.rows, size), "means");
  expect_all_near(got.squares, want.squares,
                  tolerance<float>(want.rows, 4 * want.rows * size * size), "squares");
}

}  // namespace dfengine::test
