// kernels/cuda/context.h for tests of builds without CUDA.
#include "kernels/cuda/context.h"
#include "kernels/base/error.h"

namespace dfengine::cuda {

bool available() {
  return false;
}

bool is_emulated() {
  return true;
}

std::string device_summary() {
  throw DeviceError("no CUDA in this build: rebuild with --preset cuda");
}

}  // namespace dfengine::cuda
