// A model against a labelled split.
#pragma once

#include <functional>

#include "engine/data/loader.h"
#include "engine/metrics/classification.h"
#include "engine/predictor.h"

namespace dfengine {

// In the order of the data set, without the pictures that cannot be read.
struct Predictions {
  std::vector<double> prob;            // of fake
  std::vector<int> label;              // 1 = fake
  std::vector<std::uint32_t> index;    // position in the data set
  std::vector<LeftOut> left_out = {};  // the others
};

// Runs every sample once. done(pictures so far) is called after each batch; false ends the run
// early, with the pictures until then; may be empty. A picture that cannot be read is left out, or
// throws, as the loader's options say.
Predictions predict_split(Predictor& predictor, const Dataset& dataset, Loader& loader,
                          const std::function<bool(Index)>& done = {});

}  // namespace dfengine
