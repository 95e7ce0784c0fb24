// Whether a backend computes what it should: every layer of MobileNetV2 with every kernel that it
// can be run by, and the whole network, against the CPU.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/runtime/backend.h"
#include "kernels/cuda/context.h"
#include "layers/networks/network.h"

namespace dfengine {

struct SelftestOptions {
  // Layers of the real widths at few positions, so that the oracle takes seconds.
  NetworkConfig network = [] {
    NetworkConfig small;
    small.input_size = 96;
    return small;
  }();
  // Every kernel of each choice, copies and the clock: ten seconds. Else the kernels of the rule,
  // in a second or two.
  bool thorough = true;
};

// What was run and how far it is from what it should be.
struct SelftestCheck {
  std::string what;  // "pointwise [2, 48, 48, 16] to [2, 48, 48, 96], training"
  int kernels = 1;   // that it was run by
  double error = 0;  // the largest, in shares of what is allowed
  double seconds = 0;
  std::vector<std::string> failures = {};  // "128x96x16: y[12] is 3.5, not 4 within 0.1"
};

struct SelftestReport {
  std::string device;  // with its driver
  std::vector<SelftestCheck> checks;
  double copy_gigabytes_per_second = 0;  // read and written, of a plain copy; 0: not measured
  cuda::DeviceClock clock;               // while it copied; 0: the system does not say

  bool passed() const;
  // The first failure with its kernel, shapes, error and device; "" where there is none.
  std::string failure() const;
};

// Runs all checks, those after a failure too, as long as the device answers. Layers are run by the
// kernels that options names, the whole network by those that the backend chooses. each: told of
// every check when it is done. pool: for the CPU's part. What the backend cannot do is a failed
// check and no exception.
SelftestReport run_selftest(const Backend& backend, ThreadPool& pool,
                            const SelftestOptions& options,
                            const std::function<void(const SelftestCheck&)>& each = {});

}  // namespace dfengine
