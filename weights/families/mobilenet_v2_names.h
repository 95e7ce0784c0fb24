// Places of MobileNetV2's convolutions, from the network's structure, so that a family of files
// says only how it names a convolution and its batch norm.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace dfengine::weights {

// Blocks of the same width. The network's own table lies above this folder, so whoever reads a file
// passes it along.
struct Stage {
  int expand = 6;  // blocks of 1 have no expanding convolution
  int repeats = 1;
  int stride = 1;  // of the first block; the others have stride 1
};

enum class ConvRole { Stem, Expand, Depthwise, Project, Head };

// One convolution of the network.
struct ConvPlace {
  ConvRole role = ConvRole::Stem;
  // Of Expand, Depthwise and Project; a Head stands in the block behind the last.
  int block = 0;     // from 0
  int stage = 0;     // from 0
  int in_stage = 0;  // position of the block in its stage, from 0
  bool expanded = false;
  int stride = 1;  // of the block
};

// All of them, in the order of the network.
std::vector<ConvPlace> conv_places(std::span<const Stage> stages);

// The part of the names that stands before ".weight", ".running_mean", ...
struct ConvNames {
  std::string conv;
  std::string norm;
};

ConvNames torchvision_names(const ConvPlace& place);

}  // namespace dfengine::weights
