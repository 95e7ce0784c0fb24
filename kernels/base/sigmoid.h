// The logistic function.
#pragma once

#include <cmath>

namespace dfengine {

// 1 / (1 + exp(-z)), without overflow.
inline double sigmoid(double z) {
  if (z >= 0) return 1.0 / (1.0 + std::exp(-z));
  const double e = std::exp(z);
  return e / (1.0 + e);
}

}  // namespace dfengine
