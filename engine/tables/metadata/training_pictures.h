// Finds whether an image model was trained on pictures, because its scores there measure nothing.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/model/model.h"

namespace dfengine {

// Throws UsageError if some of the pictures (full paths) are among those that the model was trained
// on, as far as its recorded arguments tell: they lie in a folder of its data whose name means
// "train" (training, train_real), up to two levels down, or stand in its training table, where this
// still exists. Of a place that was absolute a model has the name and a digest: it is looked for
// among the folders above the pictures. `name` stands in the error.
void refuse_training_pictures(const Model& model,
                              const std::vector<std::filesystem::path>& pictures,
                              const std::string& name);

}  // namespace dfengine
