// kernels/cuda/tuning/libraries.h on CUDA: each library is opened when it is first asked.
#include "kernels/cuda/tuning/libraries.h"

#include <cstdlib>
#include <string_view>

#include "kernels/base/error.h"
#include "kernels/cuda/native/cublaslt.cuh"
#include "kernels/cuda/native/cudnn.cuh"

namespace dfengine::cuda {
namespace {

bool cudnn_is_wanted() {
  const char* value = std::getenv("DFENGINE_CUDNN");
  return value != nullptr && std::string_view(value) == "1";
}

std::string found(const std::string& name, std::string (*version)()) {
  try {
    return name + " " + version();
  } catch (const DeviceError&) {  // the plan's list of what was left out has the reason
    return "no " + name;
  }
}

}  // namespace

std::string found_libraries() {
  const std::string first = found("cuBLASLt", lt_version);
  return cudnn_is_wanted() ? first + ", " + found("cuDNN", dnn_version) : first;
}

struct Libraries::Handles {
  LtHandle lt;
  DnnHandle dnn;
};

Libraries::Libraries() : handles_(std::make_unique<Handles>()) {}
Libraries::~Libraries() = default;

std::vector<LibraryKernel> Libraries::pointwise(PointwisePass pass, StorageType type,
                                                const PointwiseProblem& p) {
  if (!handles_->lt) handles_->lt = open_lt();
  return lt_products(handles_->lt, pass, type, p);
}

std::vector<LibraryKernel> Libraries::stem(StorageType type, const StemProblem& p) {
  if (!cudnn_is_wanted()) return {};
  if (!handles_->dnn) handles_->dnn = open_dnn();
  return dnn_stem(handles_->dnn, type, p);
}

}  // namespace dfengine::cuda
