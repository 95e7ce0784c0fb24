// The Keras family: tf.keras.applications' MobileNetV2 in HDF5 files and .keras archives.
#pragma once

#include <span>
#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

enum class KerasLayer { Conv, Depthwise, Norm, Dense };

// One weighted layer of the network under its three names.
struct KerasRow {
  KerasLayer kind;
  std::string torch;  // prefix of torchvision's tensor names
  std::string keras;  // name of today's keras.applications
  std::string stock;  // name in the .h5 files that keras.applications downloads
};

// All 105, from the input to the classifier.
std::span<const KerasRow> keras_rows();

// Decides by attributes and paths that only Keras writes.
bool recognise_keras(const TensorFile& file);

// Layers of the base are matched by name. When no convolution's name is known, they are matched by
// order (layer_names, else the numbers in the names), one kind of array at a time. Kernels are
// transposed: HWIO -> OIHW, depthwise (3, 3, C, 1) -> (C, 1, 3, 3), dense (in, out) -> (out, in).
// The number of channels is followed through the network. The head becomes head.fc1 and head.fc2
// (keras_head.h), else classifier.1, else its arrays keep their names and kLeftOut says why. Sets
// bn_eps 1e-3, pad_mode tf_same, mean and std (0.5 where the file does not say them),
// keras_version, and dropout and input_size where the file says them. bn_momentum stays the
// engine's 0.1, because with Keras' 0.001 the statistics hardly move in a short fine-tuning. The
// optimizer's arrays are left out. Throws ModelFileError.
TensorFile translate_keras(TensorFile file, const std::string& name_for_errors);

}  // namespace dfengine::weights
