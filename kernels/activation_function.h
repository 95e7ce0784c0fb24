// The activations on one number: the definition behind all kernels but the vectorised ones.
#pragma once

#include "kernels/base/shape.h"

namespace dfengine {

// A NaN passes through, so that it is found and not hidden.
template <class T>
constexpr T activate(Activation activation, T x) {
  if (activation != Activation::None && x < 0) return 0;
  if (activation == Activation::Relu6 && x > 6) return 6;
  return x;
}

// The gradient is 1 strictly between the bounds of the activation and 0 elsewhere. x may be the
// input of the activation or its output.
template <class T>
constexpr bool passes_gradient(Activation activation, T x) {
  return !((activation != Activation::None && x <= 0) ||
           (activation == Activation::Relu6 && x >= 6));
}

}  // namespace dfengine
