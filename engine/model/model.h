// A model: architecture, parameters and everything a prediction needs to know. Travels as one
// safetensors file whose base tensors have torchvision's names, shapes and order.
#pragma once

#include <filesystem>
#include <map>

#include "engine/data/pictures/prepare.h"
#include "engine/runtime/parameters.h"
#include "kernels/base/sigmoid.h"
#include "layers/models/mobilenet_v2.h"
#include "weights/tensor_file.h"

namespace dfengine {

struct Model {
  MobileNetV2Config config;
  ParameterStore parameters;
  // How pictures were resized and cut in training.
  Crop crop = Crop::None;
  ResizeRule resize = ResizeRule::Bilinear;
  std::vector<std::string> classes = {"real", "fake"};  // by label; empty for an ImageNet head
  std::string positive_class = "fake";
  // prob_fake = sigmoid(logit / temperature); prob_fake >= threshold is called fake.
  double temperature = 1;
  double threshold = 0.5;
  // Anything else that travels with the file: source_file, source_sha256, train_args, ...
  std::map<std::string, std::string> notes = {};

  // What its pictures go through.
  Preparation preparation(Index max_pixels = kMaxImagePixels) const {
    return {config.input_size, crop, resize, max_pixels};
  }
  // Input "images", outputs "pooled" and, with a head, "logits".
  Graph graph() const { return make_mobilenet_v2(config); }
  // Of being fake, calibrated.
  double probability(double logit) const { return sigmoid(logit / temperature); }
};

// A model with He-initialised weights.
Model make_model(const MobileNetV2Config& config, std::uint64_t seed);

// Reads a model of dfengine, or bare torchvision weights (ImageNet normalisation, eps 1e-5, torch
// padding are then assumed; the width follows from the shapes). Missing, unexpected and misshaped
// tensors are listed together in one ModelFileError. "imagenet" is downloaded
// (weights/pretrained.h).
Model load_model(const std::filesystem::path& path);
// The same, and the file must hold a detector: head of one logit, two classes, threshold in [0, 1],
// temperature positive.
Model load_detector(const std::filesystem::path& path);
Model model_from_tensors(const weights::TensorFile& file, const std::string& name_for_errors);

weights::TensorFile model_to_tensors(const Model& model);
// Atomic: the old file stays until the new one is complete.
void save_model(const std::filesystem::path& path, const Model& model);

// The same base with a new configuration's head: kept where `model` already has that head, else
// drawn from `seed`. Widths must agree (UsageError).
Model with_head(const Model& model, const MobileNetV2Config& config, std::uint64_t seed);

}  // namespace dfengine
