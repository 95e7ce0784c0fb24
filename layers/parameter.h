// What a parameter of a network is: its name and shape in files, its place in memory, its first
// value.
#pragma once

#include <string>
#include <vector>

#include "kernels/base/shape.h"

namespace dfengine {

enum class Role {
  Weight,
  Bias,
  NormScale,
  NormShift,
  RunningMean,
  RunningVar,
  QuantizedWeight,  // integers from -127 to 127
  WeightScale,      // what 1 of them stands for
};

// Running statistics are moved by forward passes, never by the optimiser; quantized weights by
// nothing.
constexpr bool is_learned(Role role) {
  return role != Role::RunningMean && role != Role::RunningVar && role != Role::QuantizedWeight &&
         role != Role::WeightScale;
}

// Where no weights are given: He et al. 2015 for weights (std = sqrt(2 / fan)), else a constant.
struct Init {
  double constant = 0.0;
  Index he_fan = 0;  // > 0: normal with standard deviation sqrt(2 / he_fan)
};

struct ParamSpec {
  std::string name;               // as torchvision names it
  std::vector<Index> file_shape;  // as torchvision shapes it
  Role role = Role::Weight;
  Init init;
  // The window of a convolution [K, C, R, S] lies in memory as [R, S, C, K]; everything else lies
  // as it does in the file.
  bool channels_last = false;

  Index count() const;
  // Where element i of the file's order lies in memory.
  Index memory_position(Index i) const;
};

}  // namespace dfengine
