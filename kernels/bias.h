// Gradient of a bias: db[c] (+)= sum_m dy[m][c].
// Determinism: bit-identical run to run and for any number of threads.
#pragma once

#include "kernels/cpu/context.h"
#include "kernels/shape.h"

namespace dfengine::cpu {

// dy [M, C], db [C].
template <class T>
void bias_backward(const Context& ctx, Index m, Index c, const T* dy, Write write, T* db);

}  // namespace dfengine::cpu
