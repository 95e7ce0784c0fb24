// Whether an answer outlives what happens to pictures on their way.
#pragma once

#include <span>
#include <vector>

#include "engine/data/augment/perturb.h"
#include "engine/model/model.h"

namespace dfengine {

// The picture as it is; written as JPEG of quality 75; made smaller by a quarter and large again; and
// cut by 4 % of each side all around.
inline constexpr std::size_t kStabilityForms = 4;
std::vector<Image> stability_forms(const Image& picture, PerturbScratch& scratch);

// What a model says of all forms of a picture.
struct Stability {
  double low = 0, high = 0;  // probabilities
  bool flips = false;        // the verdict is not the same everywhere
};
Stability stability_of(std::span<const float> logits, const Model& model);

}  // namespace dfengine
