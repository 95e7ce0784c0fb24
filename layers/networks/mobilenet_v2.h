// MobileNetV2 (Sandler et al. 2018) with torchvision's layer and tensor names.
#pragma once

#include "layers/networks/network.h"

namespace dfengine {

// Table 2 of the paper.
inline constexpr Stage kMobileNetV2Stages[] = {
    {.expand = 1, .channels = 16, .repeats = 1, .stride = 1},
    {.expand = 6, .channels = 24, .repeats = 2, .stride = 2},
    {.expand = 6, .channels = 32, .repeats = 3, .stride = 2},
    {.expand = 6, .channels = 64, .repeats = 4, .stride = 2},
    {.expand = 6, .channels = 96, .repeats = 3, .stride = 1},
    {.expand = 6, .channels = 160, .repeats = 3, .stride = 2},
    {.expand = 6, .channels = 320, .repeats = 1, .stride = 1}};

// The weights that tell a width: of the stem, of the last projection of each stage, of the last
// convolution.
std::vector<WeightChannels> mobilenet_v2_channels(double width);

// Channels rounded as the paper's code does: to a multiple of 8, never below 90 % of the value.
Index round_channels(double channels);
// Channels of the pooled features: 1280, more for widths above 1.
Index pooled_channels(double width);

// Appends the base, features.0 to features.18 and the pool (Architecture::add_base).
ValueId add_mobilenet_v2_base(Graph& graph, const NetworkConfig& config, ValueId images,
                              std::vector<std::string>& blocks);

}  // namespace dfengine
