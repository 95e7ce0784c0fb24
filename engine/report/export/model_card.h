// The page that model hubs show for a model: README.md with a head of YAML.
#pragma once

#include <string>

#include "engine/train/trainer.h"

namespace dfengine::report {

inline constexpr const char* kModelCard = "README.md";

// The card of a run that came to its end, and of the model that it kept, with that model's figures
// on the validation pictures.
std::string model_card(const TrainResult& result, const Model& kept, const Predictions& valid);
// Writes it into the run's folder, atomically. One in which a person has named the licence stays,
// and so does a file of that name that is no card.
void write_model_card(const TrainResult& result, const Model& kept, const Predictions& valid);

}  // namespace dfengine::report
