// Probabilities at which a model does not stand by its verdict.
#pragma once

#include <optional>

#include "engine/model/model_metadata.h"

namespace dfengine {

struct UnsureBand {
  double from = 0, to = 0;
  bool holds(double prob) const { return prob >= from && prob <= to; }
};

// The note that has it, "FROM,TO".
inline constexpr const char* kUnsureBand = "unsure_band";

// Nothing for a model without the note, or whose note does not say two probabilities.
std::optional<UnsureBand> unsure_band(const ModelMetadata& model);

}  // namespace dfengine
