// A trained model as one of 8-bit integers, after training and without it: Jacob et al. 2018
// (integers and scales), Nagel et al. 2019 (equalisation across layers, bias correction).
#pragma once

#include <vector>

#include "engine/model/quantize_statistics.h"

namespace dfengine {

// How far from the float model's answers a rule's model is on pictures that had no part in it: the
// mean absolute difference of the probability, of a model without a detector's head the root mean
// square of the features' over theirs.
struct RuleResult {
  RangeRule rule = RangeRule::MinMax;
  double difference = 0;
};
struct QuantizedModel {
  Model model;
  std::vector<RuleResult> results;  // of the rules that were tried
  RangeRule rule = RangeRule::MinMax;
};

// Fewer pictures say too little about the ranges.
inline constexpr Index kLeastQuantizePictures = 16;

// images [n, size, size, 3] uint8 RGB like those that the model will see. Every fourth is held back
// and decides which rule is taken. Weights are symmetric by output channel, results of convolutions
// by tensor, the head's matrices rounded to half precision. Threshold and temperature stay the
// float model's. Throws UsageError for a model that is quantized already or an ensemble, DataError
// for fewer than kLeastQuantizePictures pictures, ModelFileError for a value that is no number or
// too large.
QuantizedModel quantize(const Model& model, const std::uint8_t* images, Index n,
                        const Backend& backend);

}  // namespace dfengine
