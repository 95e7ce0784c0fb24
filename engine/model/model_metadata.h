// What a model's file says beside its tensors, and its translation from and to text entries.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/pictures/prepare.h"
#include "layers/networks/network.h"

namespace dfengine {

// Probabilities at which a model does not stand by its verdict.
struct UnsureBand {
  double from = 0, to = 0;
  bool holds(double prob) const { return prob > from && prob < to; }
};
// The verdict there, and wherever a picture's answer is not to be trusted.
inline constexpr const char* kUnsure = "unsure";

// Everything that a prediction needs to know except the parameters.
struct ModelMetadata {
  NetworkConfig config;
  // How pictures were resized and cut in training.
  Crop crop = Crop::None;
  ResizeRule resize = ResizeRule::Bilinear;
  std::vector<std::string> classes = {"real", "fake"};  // by label; empty for an ImageNet head
  std::string positive_class = "fake";
  // prob_fake = sigmoid(logit / temperature); prob_fake >= threshold is called fake.
  double temperature = 1;
  double threshold = 0.5;
  // Chosen on labelled pictures at this threshold (engine/evaluate/unsure.h).
  std::optional<UnsureBand> unsure = {};
  // Anything else that travels with the file: source_file, source_sha256, train_args, ...
  std::map<std::string, std::string> notes = {};

  // The class that this probability of being fake means; of a model with two classes.
  const std::string& verdict(double prob) const { return classes[prob >= threshold ? 1 : 0]; }
  bool is_unsure(double prob) const { return unsure && unsure->holds(prob); }
};

// The note of a model whose batch norms were folded ("yes"); weights/onnx/source_onnx.cpp writes
// it.
inline constexpr const char* kBnFolded = "bn_folded";
// The entry that only a checkpoint has (engine/train/checkpoint.cpp).
inline constexpr const char* kTrainState = "train_state";
bool is_bn_folded(const ModelMetadata& model);

// Where the entries say nothing, the fields of `of_tensors` and torchvision's conventions stay.
// Throws ModelFileError naming the file, the entry and what it should be.
ModelMetadata read_metadata(const std::map<std::string, std::string>& entries,
                            const NetworkConfig& of_tensors, const std::string& name_for_errors);
std::map<std::string, std::string> write_metadata(const ModelMetadata& model);

}  // namespace dfengine
