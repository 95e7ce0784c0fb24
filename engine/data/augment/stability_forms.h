// The changes under which the answer to a picture should stay as it is.
#pragma once

#include <vector>

#include "engine/data/augment/perturb.h"

namespace dfengine {

// The picture as it is; written as JPEG of quality 75; made smaller by a quarter and large again;
// and cut by 4 % of each side all around.
inline constexpr Index kStabilityForms = 4;
std::vector<Image> stability_forms(const Image& picture, PerturbScratch& scratch);

}  // namespace dfengine
