// Which answers of a model are too near its threshold to be trusted.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "engine/evaluate/evaluate.h"

namespace dfengine {

// The least distance from the threshold, in logits, from which on at most `errors` of the pictures
// are wrong: what lies nearer is unsure. logit and label [n]; threshold as a logit. 0 where all
// answers together are good enough; infinity where no distance is. Throws ShapeError where the
// sizes differ or n is 0, UsageError unless errors is in [0, 1).
double unsure_margin(std::span<const double> logit, std::span<const int> label, double threshold,
                     double errors);

// The same as the probabilities around the model's threshold; nothing where no distance is enough.
std::optional<UnsureBand> choose_unsure_band(const Predictions& predictions, const Model& model,
                                             double errors);

// How a band divides answers.
struct UnsureCount {
  UnsureBand band;
  Index unsure = 0, sure = 0;
  Index wrong = 0;  // of the sure ones
};
UnsureCount count_unsure(const Predictions& predictions, const UnsureBand& band, double threshold);

nlohmann::json to_json(const UnsureCount& count);
// A line for people.
std::string to_text(const UnsureCount& count);

}  // namespace dfengine
