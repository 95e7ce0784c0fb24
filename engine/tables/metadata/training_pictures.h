// Whether an image model has seen pictures before: its scores there are no measure of anything.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/model/model.h"

namespace dfengine {

// Throws UsageError if pictures (full paths) are among those that the model was trained on, as far
// as its recorded arguments tell: in a folder "train" of its data, up to two levels down, or in its
// training table where that still exists. `name` stands in the error.
void refuse_training_pictures(const Model& model,
                              const std::vector<std::filesystem::path>& pictures,
                              const std::string& name);

}  // namespace dfengine
