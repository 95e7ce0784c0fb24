// What cuBLASLt and cuDNN offer for a problem. Builds without CUDA have neither and offer nothing
// (emulated/libraries.cpp).
#pragma once

#include <memory>
#include <vector>

#include "kernels/cuda/tuning/choice.h"
#include "kernels/stem_conv.h"

namespace dfengine::cuda {

// The three passes of a pointwise convolution. Each is one matrix product.
enum class PointwisePass { Forward, DataGradient, WeightGradient };

// The libraries of one device. What they offer keeps the library it needs alive.
class Libraries {
 public:
  Libraries();
  ~Libraries();

  // 16-bit operands, sums in float, no epilogue; dw in float. All throw DeviceError.
  std::vector<Candidate> pointwise(PointwisePass pass, StorageType type, const PointwiseProblem& p);
  // Forward, 16-bit, without an epilogue.
  std::vector<Candidate> stem(StorageType type, const StemProblem& p);

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

}  // namespace dfengine::cuda
