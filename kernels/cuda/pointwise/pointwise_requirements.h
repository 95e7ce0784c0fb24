// What the 16-bit pointwise kernels need.
#pragma once

#include <initializer_list>

#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {

// Throws ShapeError unless tensor cores can take the sizes and, null or not, the pointers.
void require_tensor_cores(const PointwiseProblem& p, std::initializer_list<const void*> pointers);

// Throws Error unless moments or sums have as many parts as the kernel makes.
void require_parts(Index given, Index made);

}  // namespace dfengine::cuda
