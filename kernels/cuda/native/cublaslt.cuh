// Pointwise convolutions through cuBLASLt.
#pragma once

#include <cublasLt.h>

#include "kernels/cuda/tuning/libraries.h"

namespace dfengine::cuda {

using LtHandle = std::shared_ptr<cublasLtContext>;
LtHandle open_lt();

// What the heuristics of cuBLASLt propose, the best guess first: "cublaslt#0", "cublaslt#1"...
std::vector<LibraryKernel> lt_products(const LtHandle& handle, PointwisePass pass, StorageType type,
                                       const PointwiseProblem& p);

}  // namespace dfengine::cuda
