// The model file's metadata: text entries <-> fields.
#pragma once

#include "engine/model/model.h"

namespace dfengine {

// Everything the entries say. Without them: torchvision's conventions.
struct ModelMetadata {
  MobileNetV2Config config;
  bool has_width = false;  // else the width follows from the tensors
  bool has_head = false;   // else the head does
  Crop crop = Crop::None;
  ResizeRule resize = ResizeRule::Bilinear;
  std::vector<std::string> classes;
  std::string positive_class;
  double temperature = 1;
  double threshold = 0.5;
  std::map<std::string, std::string> notes;
};

// Throws ModelFileError naming the file, the entry and what it should be.
ModelMetadata read_metadata(const std::map<std::string, std::string>& entries,
                            const std::string& name_for_errors);
std::map<std::string, std::string> write_metadata(const Model& model);

}  // namespace dfengine
