// Whether an answer outlives what happens to pictures on their way.
#pragma once

#include <span>

#include "engine/data/augment/stability_forms.h"
#include "engine/model/model.h"

namespace dfengine {

// What a model says of all forms of a picture.
struct Stability {
  double low = 0, high = 0;  // probabilities
  bool flips = false;        // the verdict is not the same everywhere
};
Stability stability_of(std::span<const float> logits, const Model& model);

}  // namespace dfengine
