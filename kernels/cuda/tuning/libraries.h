// What cuBLASLt and cuDNN offer for a problem. Both are opened when they are first asked, so that a
// program starts without them; where one is not installed, the reason is thrown and its kernels are
// left out. Builds without CUDA have neither and offer nothing (absent/no_device.cpp).
#pragma once

#include <memory>
#include <vector>

#include "kernels/cuda/stream.h"
#include "kernels/cuda/tuning/choice.h"
#include "kernels/pointwise_conv.h"
#include "kernels/stem_conv.h"

namespace dfengine::cuda {

// The three passes of a pointwise convolution. Each is one matrix product.
enum class PointwisePass { Forward, DataGradient, WeightGradient };

// A library's kernel: out (+)= operation(a, b), the operands in the order of the operation's own
// launcher. It keeps the library that it needs alive and throws DeviceError.
using LibraryLaunch = void(Stream, const void* a, const void* b, Write write, void* out,
                           void* scratch);
using LibraryKernel = Kernel<LibraryLaunch>;

// The same kernels, each started by what `convert` makes of its launch.
template <class Launch, class Convert>
std::vector<Kernel<Launch>> convert_each(std::vector<LibraryKernel> kernels, Convert&& convert) {
  std::vector<Kernel<Launch>> converted;
  for (LibraryKernel& kernel : kernels)
    converted.push_back({kernel.name, kernel.scratch, convert(std::move(kernel.launch))});
  return converted;
}

// "cuBLASLt 13.1.0", or "no cuBLASLt"; with DFENGINE_CUDNN=1 the same of cuDNN.
std::string found_libraries();

// The libraries of one device.
class Libraries {
 public:
  Libraries();
  ~Libraries();

  // Both take 16-bit operands, sum in float and have no epilogue. The weight gradient is written in
  // float. They throw DeviceError.
  std::vector<LibraryKernel> pointwise(PointwisePass pass, StorageType type,
                                       const PointwiseProblem& p);
  // The forward pass, by cuDNN. It is asked only where the environment has DFENGINE_CUDNN=1: it may
  // compile kernels of its own for seconds, and what it competes for is a hundredth of a step.
  std::vector<LibraryKernel> stem(StorageType type, const StemProblem& p);

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

}  // namespace dfengine::cuda
