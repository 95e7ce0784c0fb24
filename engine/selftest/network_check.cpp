#include "engine/selftest/network_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/model/predictor.h"
#include "engine/runtime/training.h"
#include "engine/selftest/layer_run.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "kernels/base/tolerance.h"

namespace dfengine {
namespace {

constexpr Index kPictures = 8;

std::vector<std::uint8_t> pictures(const Model& model) {
  std::vector<std::uint8_t> all(at(kPictures * model.network.image.bytes()));
  Random random(1, RandomStream::Noise, 0);
  for (std::uint8_t& v : all) v = static_cast<std::uint8_t>(random.bits());
  return all;
}

// A copy whose parameters are multiplied by 1 + noise, noise uniform in twice the unit roundoff.
Model with_noise(const Model& model, double unit, std::uint64_t seed) {
  Model noisy = make_model(model.config, 1);
  std::memcpy(noisy.parameters.data(), model.parameters.data(), at(model.parameters.bytes()));
  const Doubles noise = uniform_numbers(noisy.parameters.total_count(), seed);
  for (std::size_t i = 0; float& v : noisy.parameters.floats())
    v = static_cast<float>(static_cast<double>(v) * (1 + 2 * unit * noise[i++]));
  return noisy;
}

double distance(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

Doubles logits(const Model& model, const Backend& backend) {
  Predictor predictor(model, backend, Predictor::Output::Logits);
  std::vector<float> out(at(kPictures));
  predictor.run(pictures(model).data(), kPictures, out.data());
  return {out.begin(), out.end()};
}

// Losses of the steps, and how far each weight moved.
struct Trained {
  Doubles losses, moved;
};

// Trains the model. Gradients themselves move the weights, for Adam's quotient of two small ones is
// rounding's alone.
Trained train(Model& model, const Backend& backend, int steps, double rate) {
  constexpr double kEps = 1;
  // Each step that overflows halves the scale of gradients and does nothing else.
  constexpr int kMostTries = 32;
  const std::span<float> weights =
      model.parameters.floats().first(at(model.parameters.learned_count()));
  const Doubles begin(weights.begin(), weights.end());
  TrainingOptions options;
  options.batch = kPictures;
  options.trainable = model.network.trainable_above(0);
  options.adam.eps = kEps;
  Training training(with_loss(model.network.graph), model.network.image, model.parameters, backend,
                    options);
  std::vector<float> targets;
  for (Index i = 0; i < kPictures; ++i) targets.push_back(static_cast<float>(i % 2));
  const std::vector<std::uint8_t> images = pictures(model);
  Trained result;
  for (int tries = 0; std::ssize(result.losses) < steps; ++tries) {
    if (tries == kMostTries) throw DeviceError("no training step has finite gradients");
    const StepInput input{.seed = 1, .step = result.losses.size(), .learning_rate = rate};
    training.step(images.data(), targets.data(), kPictures, input);
    const double loss = training.collect().loss / kPictures;
    if (training.download().step > result.losses.size()) result.losses.push_back(loss);
  }
  for (std::size_t i = 0; i < begin.size(); ++i)
    result.moved.push_back(static_cast<double>(weights[i]) - begin[i]);
  return result;
}

// The difference of a number of this size, which both round to float, as a share of what is allowed
// beside that; written down where it is too much.
void judge(const std::string& what, double size, double difference, double condition,
           NetworkOutcome& outcome) {
  const double allowed = condition + rounding(Element::F32, 1, size);
  const double share = difference / allowed;
  // Written so that a NaN fails.
  if (!(share <= 1) && outcome.failure.empty())
    outcome.failure = fmt::format("{} by {:.3g}, {:.3g} is allowed", what, difference, allowed);
  outcome.error = std::max(outcome.error, share);
}

// The model with noise of the backend's element, several times.
std::vector<Model> noisy_models(const Model& model, const Backend& backend) {
  const double unit = unit_roundoff_of(backend.element());
  std::vector<Model> all;
  for (std::uint64_t seed : {1, 2, 3}) all.push_back(with_noise(model, unit, seed));
  return all;
}

}  // namespace

Model model_for_checks(NetworkConfig config, const Backend& cpu) {
  config.bn_momentum = 1;  // the batch's statistics become the running ones
  Model model = make_model(config, 1);
  const std::vector<ParamSpec>& specs = model.parameters.specs();
  for (int i = 0; i < std::ssize(specs); ++i) {
    constexpr float kBetweenKinks = 3;
    const Index count = specs[at(i)].count();
    if (specs[at(i)].role == Role::NormShift)
      std::ranges::fill_n(static_cast<float*>(model.parameters.value(i)), count, kBetweenKinks);
  }
  train(model, cpu, 1, 0);
  return model;
}

NetworkOutcome check_inference(const Model& model, const Backend& backend, const Backend& cpu) {
  const Doubles want = logits(model, cpu), got = logits(model, backend);
  double allowed = 0;
  for (const Model& noisy : noisy_models(model, backend)) {
    const Doubles moved = logits(noisy, cpu);
    for (std::size_t k = 0; k < want.size(); ++k)
      allowed = std::max(allowed, kRoundingSafety * std::abs(moved[k] - want[k]));
  }
  NetworkOutcome outcome;
  for (std::size_t k = 0; k < want.size(); ++k)
    judge(fmt::format("logit {}, {:.4g}, differs", k, want[k]), std::abs(want[k]),
          std::abs(got[k] - want[k]), allowed, outcome);
  return outcome;
}

NetworkOutcome check_training(const Model& model, const Backend& backend, const Backend& cpu,
                              int steps) {
  // As far as the loss is nearly linear.
  constexpr double kRate = 1e-4;
  const auto trained = [&](Model start, const Backend& on) {
    return train(start, on, steps, kRate);
  };
  const Trained want = trained(with_noise(model, 0, 1), cpu);
  const Trained got = trained(with_noise(model, 0, 1), backend);
  Doubles allowed(want.losses.size(), 0.0);
  double allowed_distance = 0;
  for (Model& start : noisy_models(model, backend)) {
    const Trained noisy = trained(std::move(start), cpu);
    for (std::size_t k = 0; k < allowed.size(); ++k)
      allowed[k] =
          std::max(allowed[k], kRoundingSafety * std::abs(noisy.losses[k] - want.losses[k]));
    allowed_distance =
        std::max(allowed_distance, kRoundingSafety * distance(noisy.moved, want.moved));
  }
  NetworkOutcome outcome;
  for (std::size_t k = 0; k < allowed.size(); ++k)
    judge(fmt::format("the loss of step {}, {:.4g}, differs", k, want.losses[k]), want.losses[k],
          std::abs(got.losses[k] - want.losses[k]), allowed[k], outcome);
  const double length = distance(want.moved, Doubles(want.moved.size(), 0.0));
  judge(fmt::format("the way of the weights, {:.3g} long, differs", length), length,
        distance(got.moved, want.moved), allowed_distance, outcome);
  return outcome;
}

}  // namespace dfengine
