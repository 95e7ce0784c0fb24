// Names of MobileNetV2's tensors, generated from the network's structure, so that a family of files
// says only how it names a convolution and its batch norm.
#pragma once

#include <map>
#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

enum class ConvRole { Stem, Expand, Depthwise, Project, Head };

// One of the 52 convolutions. Blocks are counted from 0 to 16; block 0 has no expansion.
struct ConvPlace {
  ConvRole role = ConvRole::Stem;
  int block = 0;     // of Expand, Depthwise, Project
  int stage = 0;     // blocks of the same width make a stage, 0 to 6
  int in_stage = 0;  // position of the block in its stage, from 0
};

// What stands before ".weight", ".running_mean", ...
struct ConvNames {
  std::string conv;
  std::string norm;
};

ConvNames torchvision_names(const ConvPlace& place);

// Name in the file -> torchvision's, for every tensor of the network.
using NameMap = std::map<std::string, std::string>;

// For a family with PyTorch's suffixes (weight, bias, running_mean, running_var,
// num_batches_tracked). `prefix` stands before all its names but the classifier's.
NameMap names_to_torchvision(ConvNames (*names)(const ConvPlace& place), const std::string& prefix,
                             const std::string& classifier);

// The file with the tensors of `names` renamed and the others as they were. Throws ModelFileError
// if two tensors would have one name.
TensorFile rename_tensors(TensorFile file, const NameMap& names,
                          const std::string& name_for_errors);

}  // namespace dfengine::weights
