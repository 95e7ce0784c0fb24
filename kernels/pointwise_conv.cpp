// Checked sizes of a pointwise convolution.
#include "kernels/pointwise_conv.h"

#include <string>

#include "kernels/base/error.h"

namespace dfengine {

PointwiseProblem PointwiseProblem::make(Index m, Index c, Index k) {
  if (m < 1 || c < 1 || k < 1)
    throw ShapeError("pointwise convolution: rows " + std::to_string(m) + ", channels in " +
                     std::to_string(c) + ", channels out " + std::to_string(k) +
                     ": all must be at least 1");
  return {.m = m, .c = c, .k = k};
}

}  // namespace dfengine
