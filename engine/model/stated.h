// What a person says of a file that is not dfengine's, because the file cannot say it.
#pragma once

#include <optional>

#include "engine/data/pictures/prepare.h"
#include "kernels/base/enum_names.h"
#include "weights/tensor_file.h"

namespace dfengine {

// What the output of a detector, or its second output, is the probability of.
enum class LabelOne { Fake, Real };
template <>
inline constexpr auto enum_names<LabelOne> =
    names_for<LabelOne>("label", {{"fake", LabelOne::Fake}, {"real", LabelOne::Real}});

// What the network sees of a pixel: from -1 to 1, from 0 to 1, by ImageNet's mean and standard
// deviation, or from 0 to 255.
enum class PixelRange { MinusOneOne, ZeroOne, Imagenet, Raw };
template <>
inline constexpr auto enum_names<PixelRange> =
    names_for<PixelRange>("pixels", {{"minus-one-one", PixelRange::MinusOneOne},
                                     {"zero-one", PixelRange::ZeroOne},
                                     {"imagenet", PixelRange::Imagenet},
                                     {"raw", PixelRange::Raw}});

struct Stated {
  std::optional<LabelOne> label_one = {};
  std::optional<PixelRange> pixels = {};
  std::optional<Index> img_size = {};  // the side of the network's input
  std::optional<ResizeRule> resize = {};
  std::optional<Crop> crop = {};
};

// Puts it into a translated file (read_weights): its entries, and the sign of its logit. Throws
// UsageError where something is stated of a file of dfengine's, which says all of it itself, and
// for a label of a file without a detector's head.
void apply_stated(weights::TensorFile& file, const Stated& stated);

}  // namespace dfengine
