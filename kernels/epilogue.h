// What a convolution applies to its result before it stores it.
#pragma once

#include "kernels/base/half.h"
#include "kernels/base/shape.h"

namespace dfengine {

// y = activation(conv + bias[k]) + residual. A null pointer leaves its term out. The residual has
// y's shape and may be the very same memory as y. CUDA kernels take the bias in float whatever T
// is.
template <class T, class Bias = SumOf<T>>
struct Epilogue {
  const Bias* bias = nullptr;  // [K]
  Activation activation = Activation::None;
  const T* residual = nullptr;  // [N, P, Q, K]
};

}  // namespace dfengine
