// The checked constructor of BatchNormProblem.
#include "kernels/batch_norm.h"

#include <string>

#include "kernels/base/error.h"

namespace dfengine {

BatchNormProblem BatchNormProblem::make(Index m, Index c, double eps, double momentum,
                                        Activation act) {
  if (m < 1 || c < 1)
    throw ShapeError("batch norm over [" + std::to_string(m) + ", " + std::to_string(c) +
                     "]: rows and channels must be at least 1");
  return {.m = m, .c = c, .eps = eps, .momentum = momentum, .activation = act};
}

}  // namespace dfengine
