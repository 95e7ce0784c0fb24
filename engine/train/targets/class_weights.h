// How much the pictures of each class count in the loss.
#pragma once

#include <string>

#include "engine/data/sets/dataset.h"
#include "kernels/bce_loss.h"

namespace dfengine {

struct ClassWeights {
  BceWeights given;
  bool balanced = false;  // n / (2 n of the class) instead, as scikit-learn's
  bool operator==(const ClassWeights&) const = default;
};

// Reads "none", "balanced" or REAL,FAKE, both finite and above 0. Throws UsageError for other text.
ClassWeights parse_class_weights(const std::string& text);
std::string to_string(const ClassWeights& weights);

// Those of a run on these pictures. Throws DataError where they shall be balanced and a class is
// missing.
BceWeights weights_for(const ClassWeights& weights, const Dataset& train);

}  // namespace dfengine
