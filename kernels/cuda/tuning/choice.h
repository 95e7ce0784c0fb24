// Which of several kernels that compute the same a launch uses. Made when a plan is built; a step
// only reads it.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "kernels/base/half.h"
#include "kernels/cuda/pointwise/pointwise_config.h"

namespace dfengine::cuda {

// A library's kernel for one problem, with everything it needs decided: run() looks nothing up.
// The operands are those of the operation's own launcher, in its order.
class LibraryKernel {
 public:
  LibraryKernel() = default;
  virtual ~LibraryKernel() = default;
  LibraryKernel(const LibraryKernel&) = delete;
  LibraryKernel& operator=(const LibraryKernel&) = delete;

  // out (+)= operation(a, b). Throws DeviceError.
  virtual void run(Stream stream, const void* a, const void* b, Write write, void* out,
                   void* scratch) const = 0;
};

// What tensors hold on a device.
enum class StorageType { F16, BF16, F32 };
template <class T>
constexpr StorageType storage_type() {
  if constexpr (std::is_same_v<T, Half>) {
    return StorageType::F16;
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return StorageType::BF16;
  } else {
    return StorageType::F32;
  }
}
const char* name_of(StorageType type);
constexpr Index bytes_of(StorageType type) {
  return type == StorageType::F32 ? 4 : 2;
}

// Nothing: the operation's one own kernel.
using Variant = std::variant<std::monostate, PointwiseConfig, PointwiseWeightConfig,
                             std::shared_ptr<const LibraryKernel>>;

struct Candidate {
  std::string name;  // "128x96x16", "cublaslt#2", "own"
  Variant variant = {};
  Index scratch = 0;  // bytes
};

struct Choice {
  Candidate kernel;
  // Chosen by measured time; else by the rule.
  bool timed = false;
  double us = 0;                           // of one launch
  std::string rule = {};                   // what the rule would have taken
  double rule_us = 0;                      // its time; 0 where it failed
  std::vector<std::string> left_out = {};  // "name: reason" of candidates that failed
};

// Null: there is nothing to choose from.
using ChoicePtr = std::shared_ptr<const Choice>;
// What is chosen without timing: the first.
ChoicePtr choose_by_rule(const std::vector<Candidate>& own, std::vector<std::string> left_out = {});

// What a plan knows of an epilogue: which terms there are.
struct EpilogueForm {
  bool bias = false;
  Activation activation = Activation::None;
  bool residual = false;
  constexpr bool plain() const { return !bias && activation == Activation::None && !residual; }
  std::string name() const;  // "", "+bias+relu6+add"
};

}  // namespace dfengine::cuda
