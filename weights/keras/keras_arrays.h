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
  KerasRole role;
};

// Whether only Keras writes such a path: "bn/gamma:0", "bn/moving_mean", "layers/bn/vars/0", ...
bool is_keras_path(std::string_view path);

// The arrays of a raw Keras file in the order of the model's layers, without those of the
// optimizer. First come those that the entries layer_names and weight_names list, in their order.
// The others (all, in Keras 3's files) follow in the order of the numbers in their names.
std::vector<KerasArray> keras_arrays(const TensorFile& file);

}  // namespace dfengine::weights
