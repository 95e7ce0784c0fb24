// What cuBLASLt and cuDNN offer for a problem. Builds without CUDA have neither and offer nothing
// (emulated/libraries.cpp).
#pragma once

#include <memory>
#include <vector>

#include "kernels/cuda/tuning/choice.h"
#include "kernels/stem_conv.h"

namespace dfengine::cuda {

// The three products of a pointwise convolution.
enum class Product { Forward, DataGradient, WeightGradient };

// The libraries of one device. What they offer keeps the library it needs alive.
class Libraries {
 public:
  Libraries();
  ~Libraries();

  // 16-bit operands, sums in float, no epilogue; dw in float. All throw DeviceError.
  std::vector<Candidate> pointwise(Product product, StorageType type, const PointwiseProblem& p);
  // Forward, 16-bit, without an epilogue.
  std::vector<Candidate> stem(StorageType type, const StemProblem& p);

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

}  // namespace dfengine::cuda
