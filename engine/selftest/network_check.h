// A whole network on a backend against the same on the CPU in float.
#pragma once

#include <string>

#include "engine/model/model.h"
#include "engine/runtime/backend.h"

namespace dfengine {

// The largest error, in shares of what is allowed, and where more than that was found.
struct NetworkOutcome {
  double error = 0;
  std::string failure = {};
};

// A network with random weights, running statistics of a batch, and most values between the kinks
// of ReLU6: with those of a new model a rounding is a hundred times as large in the end, so that
// nearly any result would do.
Model model_for_checks(NetworkConfig config, const Backend& cpu);

// What is allowed is the network's own condition: how far rounding every weight once more to the
// backend's element moves the result, times a safety factor, for no bound of one layer knows it.
// The logits of a few pictures. cpu is in float.
NetworkOutcome check_inference(const Model& model, const Backend& backend, const Backend& cpu);
// Losses of so many training steps, and where they lead the weights.
NetworkOutcome check_training(const Model& model, const Backend& backend, const Backend& cpu,
                              int steps);

}  // namespace dfengine
