// A model against a labelled split.
#pragma once

#include <functional>

#include "engine/data/loader.h"
#include "engine/metrics/classification.h"
#include "engine/metrics/threshold.h"
#include "engine/predictor.h"

namespace dfengine {

// In the order of the data set.
struct Predictions {
  std::vector<double> logit;
  std::vector<double> prob;  // of fake, calibrated by the model's temperature
  std::vector<int> label;    // 1 = fake
};

// Logits of n pictures, each the mean over its forms (engine/data/views.h). images
// [n, views, size, size, 3], out [n].
void run_views(Predictor& predictor, const std::uint8_t* images, Index n, Index views, float* out);

// Runs every sample once. done(pictures so far) is called after each batch; may be empty.
// Throws what the loader throws for a picture that cannot be read.
Predictions predict_split(Predictor& predictor, const Dataset& dataset, Loader& loader,
                          const std::function<void(Index)>& done = {});

// Gives the model the temperature that fits these predictions of it best, and the threshold that
// the rule then chooses (engine/metrics). Throws as fit_temperature does.
void calibrate(Model& model, const Predictions& predictions, const ThresholdRule& rule);

}  // namespace dfengine
