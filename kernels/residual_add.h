// y = a + b, and its gradient: da (+)= dy, db (+)= dy. Aliasing: y may be a or b.
#pragma once

#include "kernels/cpu/context.h"
#include "kernels/shape.h"

namespace dfengine::cpu {

template <class T>
void residual_add(const Context& ctx, Index count, const T* a, const T* b, T* y);

// One side of the gradient.
template <class T>
void residual_add_backward(const Context& ctx, Index count, const T* dy, Write write, T* dx);

}  // namespace dfengine::cpu
