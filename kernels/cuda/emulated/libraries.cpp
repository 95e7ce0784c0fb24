// kernels/cuda/tuning/libraries.h for builds without CUDA: no libraries.
#include "kernels/cuda/tuning/libraries.h"

namespace dfengine::cuda {

struct Libraries::Handles {};
Libraries::Libraries() = default;
Libraries::~Libraries() = default;

std::vector<LibraryKernel> Libraries::pointwise(PointwisePass, StorageType,
                                                const PointwiseProblem&) {
  return {};
}

std::vector<LibraryKernel> Libraries::stem(StorageType, const StemProblem&) {
  return {};
}

}  // namespace dfengine::cuda
