// The moving average of a run's parameters (--model-ema) in host memory.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/runtime/parameter_store.h"

namespace dfengine {

// What stays of the average at update t, counted from 0: less at first, when the average would
// otherwise be made of what training began with (as TensorFlow's num_updates has it).
inline double average_decay(double most, Index t) {
  const auto updates = static_cast<double>(t);
  return std::min(most, (1 + updates) / (10 + updates));
}

// As long as it lives the store holds the average; afterwards its own values again.
class AverageInPlace {
 public:
  // An empty average changes nothing.
  AverageInPlace(ParameterStore& store, std::vector<float>& average)
      : store_(store), average_(average) {
    swap();
  }
  ~AverageInPlace() { swap(); }
  AverageInPlace(const AverageInPlace&) = delete;
  AverageInPlace& operator=(const AverageInPlace&) = delete;

 private:
  void swap() { std::swap_ranges(average_.begin(), average_.end(), store_.floats().begin()); }
  ParameterStore& store_;
  std::vector<float>& average_;
};

}  // namespace dfengine
