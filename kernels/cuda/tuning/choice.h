// Which of several kernels that compute the same a launch uses. Chosen when a plan is built: a step
// starts what was chosen and looks nothing up.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <vector>

#include "kernels/base/half.h"
#include "kernels/base/shape.h"

namespace dfengine::cuda {

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
// Calls body with a value of the type.
template <class Body>
auto with_type(StorageType type, Body&& body) {
  switch (type) {
    case StorageType::F16:
      return body(Half{});
    case StorageType::BF16:
      return body(BFloat16{});
    case StorageType::F32:
      break;
  }
  return body(0.0f);
}
const char* name_of(StorageType type);
constexpr Index bytes_of(StorageType type) {
  return type == StorageType::F32 ? 4 : 2;
}

// A kernel that is ready to be started. Launch is the type of the call, such as void(Stream, const
// float* x, float* y). Everything else, as the problem and the tiles, stands in the function.
template <class Launch>
struct Kernel {
  std::string name;   // "128x96x16", "cublaslt#2", "own"
  Index scratch = 0;  // bytes that the launch is given
  std::function<Launch> launch;
};

// Which kernel was chosen, and why.
struct Choice {
  std::string name;
  Index scratch = 0;
  bool timed = false;                      // by measured time; otherwise the rule chose
  double us = 0;                           // the time of one launch
  std::string rule = {};                   // the name of the kernel that the rule would have chosen
  double rule_us = 0;                      // the time of that one; 0 where it failed
  std::vector<std::string> left_out = {};  // "name: reason" of each candidate that failed
  auto operator<=>(const Choice&) const = default;
};

// "128x96x16, 31.2 us (rule: 128x144x32, 33.0 us)", "128x96x16, by rule", or "own" where an
// operation has one kernel of its own, which was not timed.
std::string describe(const Choice& choice);

// A choice with the function that starts exactly this kernel.
template <class Launch>
struct Chosen : Choice {
  std::function<Launch> launch;
};

// The rule chooses without timing: its kernel is the first.
template <class Launch>
Chosen<Launch> choose_by_rule(const std::vector<Kernel<Launch>>& kernels) {
  const Kernel<Launch>& first = kernels.front();
  return {{.name = first.name, .scratch = first.scratch, .rule = first.name}, first.launch};
}

// Which terms an epilogue has. A plan knows that much before there are any numbers.
struct EpilogueForm {
  bool bias = false;
  Activation activation = Activation::None;
  bool residual = false;
  constexpr bool plain() const { return !bias && activation == Activation::None && !residual; }
  std::string name() const;  // "", "+bias+relu6+add"
};

}  // namespace dfengine::cuda
