// How a model's figures change when pictures are compressed, blurred, rescaled, made noisy or
// lighter, as happens to pictures on their way through the world.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/data/augment/perturb.h"
#include "engine/evaluate/evaluate.h"
#include "engine/evaluate/metrics/summary.h"

namespace dfengine {

// One change of a decoded picture, before it is resized for the network.
struct Perturbation {
  const char* kind;   // in files
  const char* title;  // for people
  double strength;
  // Changes the image in place; the same (seed, key) gives the same change.
  void (*apply)(Pixels image, double strength, std::uint64_t seed, std::uint64_t key,
                PerturbScratch& scratch);
};

// All that are tried: JPEG quality 90, 70, 50 and 30; Gaussian blur of 1, 2 and 3 pixels; scaling
// to .75, .5 and .25 and back; noise of 5, 10 and 20 levels; brightness times .5, .75, 1.25 and
// 1.5.
std::span<const Perturbation> perturbations();

// Whether a row reports this figure.
bool is_told(const MetricField& field);

struct RobustnessRow {
  const Perturbation* what = nullptr;  // null for pictures as they are
  Summary summary;
};

// Measures the split as it is, then under every perturbation. Noise depends on (seed, position of
// the sample) alone. done(row, pictures of it so far) is called after each batch; it may be empty.
// Throws what predict_split and summarize throw.
std::vector<RobustnessRow> measure_robustness(Predictor& predictor, const Dataset& dataset,
                                              const LoaderOptions& options, double threshold,
                                              std::uint64_t seed,
                                              const std::function<void(Index, Index)>& done = {});

// A list of {"kind", "strength", "accuracy", "balanced_accuracy", "roc_auc", "intervals"}; the
// first has "kind": "none" and "strength": null.
nlohmann::json to_json(const std::vector<RobustnessRow>& rows);

}  // namespace dfengine
