// Whether an answer outlives what happens to pictures on their way, and which answers are too near
// the threshold to be trusted.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/data/augment/perturb.h"

namespace dfengine {

// The changes under which an answer should stay: written as JPEG of quality 75, made smaller by a
// quarter and large again, and cut by 4 % of each side all around.
inline constexpr int kStabilityChanges = 3;

// The picture as it is and under each change, [1 + kStabilityChanges].
std::vector<Image> stability_forms(const Image& picture, PerturbScratch& scratch);

// The least distance from the threshold, in logits, from which on at most `errors` of the validation
// pictures are wrong: what lies nearer is unsure. logit and label [n], both of the validation
// pictures; threshold as a logit. 0 where all answers together are good enough; infinity where no
// distance is. Throws ShapeError where the sizes differ or n is 0, UsageError unless errors is in
// [0, 1).
double unsure_margin(std::span<const double> logit, std::span<const int> label, double threshold,
                     double errors);

}  // namespace dfengine
