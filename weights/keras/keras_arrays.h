// What Keras' paths say of each array: its layer, its role in the layer, its place in the order.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "weights/tensor_file.h"

namespace dfengine::weights {

enum class KerasRole {
  ConvKernel,
  DepthwiseKernel,
  DenseKernel,
  DenseBias,
  Gamma,
  Beta,
  Mean,
  Variance,
  Other
};
const char* role_name(KerasRole role);

struct KerasArray {
  std::size_t tensor;  // index in TensorFile::tensors
  std::string layer;   // the layer's own name, without the models around it
  std::string folder;  // the layer's whole path
  bool numbered;       // as Keras 3 names variables, by the layer's class instead of its name
  KerasRole role;      // of a numbered batch norm's, as if it had them all

  // Whether it is a variable of the layer that a configuration calls `name`, and of which Keras 3
  // keeps the variables at `path`.
  bool belongs_to(std::string_view name, std::string_view path) const {
    return numbered ? folder == path : layer == name;
  }
};

// Whether only Keras writes such a path: "bn/gamma:0", "bn/moving_mean", "layers/bn/vars/0", ...
bool is_keras_path(std::string_view path);

// The arrays of a raw Keras file in the order of the model's layers, without those of the
// optimizer and of metrics. First come those that the entries layer_names and weight_names list, in
// their order. The others (all, in Keras 3's files) follow in the order of the numbers in their
// names.
std::vector<KerasArray> keras_arrays(const TensorFile& file);

}  // namespace dfengine::weights
