// Whole numbers for kernels that make a part of a batch norm's gradient, and what they should make
// of them.
#pragma once

#include "kernels/activation_function.h"
#include "kernels/norm_gradient.h"
#include "tests/kernels/convolutions.h"

namespace dfengine::test {

inline Doubles whole(Index count, std::uint64_t seed) {
  return random_integers<double>(count, seed);
}

// What a batch norm over c channels tells the convolution that reads its result: of whole numbers.
struct Norm {
  DeviceArray<float> scale, shift, mean;
  NormOnLoad norm;

  explicit Norm(Index c, Activation activation = Activation::Relu6)
      : scale(random_integers<double>(c, 21, 1, 2)), shift(whole(c, 22)), mean(whole(c, 23)) {
    norm = {scale.data(), shift.data(), activation, mean.data()};
  }
  // dx where the activation passes it.
  Doubles behind_activation(const Doubles& x, Doubles dx) const {
    const Doubles factor = scale.values(), summand = shift.values();
    for (std::size_t i = 0; i < dx.size(); ++i) {
      const std::size_t k = i % factor.size();
      if (!passes_gradient(norm.activation, x[i] * factor[k] + summand[k])) dx[i] = 0;
    }
    return dx;
  }
  // [2, c]: the sums of g and of g * (x - mean).
  Doubles sums(const Doubles& x, const Doubles& g) const {
    const Doubles of_x = mean.values();
    const std::size_t c = of_x.size();
    Doubles all(2 * c, 0.0);
    for (std::size_t i = 0; i < g.size(); ++i) {
      all[i % c] += g[i];
      all[c + i % c] += g[i] * (x[i] - of_x[i % c]);
    }
    return all;
  }
};

inline Doubles added(const Doubles& parts, Index c) {
  Doubles all(at(2 * c), 0.0);
  for (std::size_t i = 0; i < parts.size(); ++i) all[i % all.size()] += parts[i];
  return all;
}

// Of the batch norm behind the convolution: [3, c], and dy as that would have stored it.
struct LastStep {
  DeviceArray<float> factors;

  explicit LastStep(Index c) : factors(3 * c) {
    Doubles all = random_integers<double>(c, 31, 1, 2);
    for (const Doubles& more : {random_integers<double>(c, 32, -1, 1), whole(c, 33)})
      all.insert(all.end(), more.begin(), more.end());
    factors = DeviceArray<float>(all);
  }
  Doubles taken(const Doubles& y, Doubles g, Index c) const {
    const Doubles f = factors.values();
    for (std::size_t i = 0; i < g.size(); ++i) {
      const std::size_t k = i % at(c);
      g[i] = f[k] * g[i] + f[at(c) + k] * y[i] + f[at(2 * c) + k];
    }
    return g;
  }
};

}  // namespace dfengine::test
