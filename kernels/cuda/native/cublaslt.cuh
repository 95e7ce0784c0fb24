// Pointwise convolutions through cuBLASLt.
#pragma once

#include <cublasLt.h>

#include "kernels/cuda/tuning/libraries.h"

namespace dfengine::cuda {

// Both open the library of the version that the headers have, and throw DeviceError.
using LtHandle = std::shared_ptr<cublasLtContext>;
LtHandle open_lt();
std::string lt_version();

// What the heuristics of cuBLASLt propose, the best guess first: "cublaslt#0", "cublaslt#1"...
std::vector<LibraryKernel> lt_products(const LtHandle& handle, PointwisePass pass, StorageType type,
                                       const PointwiseProblem& p);

}  // namespace dfengine::cuda
