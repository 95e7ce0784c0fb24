// A model: architecture, parameters and everything that a prediction needs to know. It travels as
// one safetensors file whose base tensors have torchvision's names, shapes and order.
#pragma once

#include <cmath>

#include "engine/model/model_fit.h"
#include "engine/runtime/parameter_store.h"
#include "kernels/base/sigmoid.h"

namespace dfengine {

struct Model : ModelMetadata {
  Network network;  // of the configuration
  ParameterStore parameters;
  // What a person should know of a file that is not dfengine's (ModelFit::remarks). No part of what
  // is saved.
  std::vector<std::string> remarks = {};

  // How pictures are prepared for it.
  Preparation preparation(Index max_pixels = kMaxImagePixels) const {
    return {config.input_size, crop, resize, max_pixels};
  }
  // The calibrated probability that a picture is fake.
  double probability(double logit) const { return sigmoid(logit / temperature); }
};

// The logit whose calibrated probability this is; infinite at 0 and 1.
inline double logit_of(double prob, const ModelMetadata& model) {
  return model.temperature * std::log(prob / (1 - prob));
}

// Throws UsageError for a quantized model: what is done ("is trained") is done to the one that it
// was made from.
void require_float(const Model& model, const std::string& what);

// A model with He-initialised weights.
Model make_model(const NetworkConfig& config, std::uint64_t seed,
                 std::span<const Architecture> table = architectures());

// Reads a model of dfengine, or weights of any family (weights/families/source.h). Bare weights of
// torchvision are taken with ImageNet normalisation, eps 1e-5 and torch padding, and with the width
// that follows from their shapes. Missing, unexpected and misshaped tensors are listed together in
// one ModelFileError; a tensor with a value that is no number is named in one, too. "imagenet" is
// downloaded, and a run's folder stands for its model (weights/pretrained.h).
Model load_model(const std::filesystem::path& path);
// The same, and the file must hold a detector: a head of one logit, two classes, a threshold in
// [0, 1] and a positive temperature.
Model load_detector(const std::filesystem::path& path);
// The same of a file in memory.
Model parse_detector(std::span<const std::byte> file, const std::string& name_for_errors);
Model model_from_tensors(const weights::TensorFile& file, const std::string& name_for_errors,
                         std::span<const Architecture> table = architectures());
// The model of a file that fits. Throws ModelFileError with fit.faults() where it does not fit, and
// for tensors that hold no floats.
Model fill_model(const ModelFit& fit, const weights::TensorFile& file,
                 const std::string& name_for_errors);

// Throws ModelFileError with the model's name unless the probability is a number.
void require_number(const std::string& name, double prob);

weights::TensorFile model_to_tensors(const Model& model);
// Writes atomically: the old file stays until the new one is complete.
void save_model(const std::filesystem::path& path, const Model& model);

// What a model holds, in lines: parameters, metadata, and what it lacks to be a detector that can
// be trained whole.
std::string describe_model(const Model& model);

// The same base with the head of a new configuration. The head is kept where `model` already has
// that one, else it is drawn from `seed`. Throws UsageError where the widths differ.
Model with_head(const Model& model, const NetworkConfig& config, std::uint64_t seed);

}  // namespace dfengine
