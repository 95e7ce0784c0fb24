// Every kernel that a choice of a device has, one after the other, whatever its time.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "engine/runtime/cuda/cuda_backend.h"

namespace dfengine {

class Candidates {
 public:
  // Makes the n-th candidate of each choice, counted from 0 as the tuner proposes them, or the last
  // where a choice has fewer: the 0th is the rule's. It lives as long as this does.
  const KernelMaker& maker(std::size_t n);

 private:
  struct Forced;
  std::vector<std::shared_ptr<Forced>> makers_;
};

// The kernels of the launches that a layer has: forward, data gradient, weight gradient. They are
// named without what they took, and so different for different candidates.
using LaunchNames = std::array<std::string, 3>;
LaunchNames launch_names(const KernelNames& names);

}  // namespace dfengine
