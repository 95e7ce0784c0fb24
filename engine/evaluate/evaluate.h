// Runs a model on a labelled split.
#pragma once

#include <functional>

#include "engine/data/loader.h"
#include "engine/evaluate/metrics/classification.h"
#include "engine/evaluate/metrics/threshold.h"
#include "engine/model/predictor.h"

namespace dfengine {

// What a model said, in the order of the data set and without the pictures that cannot be read.
struct Predictions {
  std::vector<double> logit;
  std::vector<double> prob;            // of fake, calibrated by the model's temperature
  std::vector<int> label;              // 1 for fake
  std::vector<std::uint32_t> index;    // position in the data set
  std::vector<LeftOut> left_out = {};  // the pictures that cannot be read

  Scores scores() const { return {prob, logit}; }
};

// Writes the logits of n pictures, each the mean over its views (engine/data/pictures/views.h).
// images [n, views, size, size, 3], out [n].
void run_views(Predictor& predictor, const std::uint8_t* images, Index n, Index views, float* out);

// Runs every sample once. done(pictures so far) is called after each batch; it may be empty, and if
// it gives false, the run ends early with the pictures until then. A picture that cannot be read is
// left out, or throws, as the loader's options say. A batch of fewer than `together` pictures is
// computed as one of so many.
Predictions predict_split(Predictor& predictor, const Dataset& dataset, Loader& loader,
                          const std::function<bool(Index)>& done = {}, Index together = 0);

// The same on the CPU, in one pass over the pictures.
Predictions predict_split(const Model& model, const Dataset& dataset, Index max_pixels,
                          OnBad on_bad, ThreadPool& pool);

// Gives the model the temperature that fits these predictions of it best, and the threshold that
// the rule then chooses (engine/evaluate/metrics); a band of another threshold goes. Throws as
// fit_temperature does.
void calibrate(Model& model, const Predictions& predictions, const ThresholdRule& rule);

}  // namespace dfengine
