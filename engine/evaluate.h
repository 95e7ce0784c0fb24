// A model against a labelled split.
#pragma once

#include <functional>

#include "engine/data/loader.h"
#include "engine/metrics/classification.h"
#include "engine/predictor.h"

namespace dfengine {

// In the order of the data set.
struct Predictions {
  std::vector<double> prob;  // of fake
  std::vector<int> label;    // 1 = fake
};

// Runs every sample once. done(pictures so far) is called after each batch; may be empty.
// Throws what the loader throws for a picture that cannot be read.
Predictions predict_split(Predictor& predictor, const Dataset& dataset, Loader& loader,
                          const std::function<void(Index)>& done = {});

}  // namespace dfengine
