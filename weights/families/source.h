// Families of weight files: whose names, layouts and conventions a file follows, and how it is
// translated to the engine's own: torchvision's names and layouts, with conventions as metadata.
#pragma once

#include <span>
#include <string>

#include "weights/families/mobilenet_v2_names.h"

namespace dfengine::weights {

// One family. To add one, write source_<family>.cpp, declare its row below and list it in
// source.cpp.
struct Source {
  const char* family;
  // Decides by the names of the tensors and the metadata that a reader left, never by the name of
  // the file.
  bool (*recognise)(const TensorFile& file);
  // The same tensors under torchvision's names, shapes and layouts. Sets the metadata entries that
  // the family's conventions decide and the file does not say: bn_eps, pad_mode, mean, std, ...
  // (the names are those of engine/model/model_metadata.cpp). Tensors without a counterpart keep
  // their names, so that the model loader lists them. Throws ModelFileError for a network that is
  // not MobileNetV2 as published.
  TensorFile (*translate)(TensorFile file, std::span<const Stage> stages,
                          const std::string& name_for_errors);
};

extern const Source kTimm, kHf, kKeras, kOnnx;

// Recognises the family and translates. The family's name goes into metadata "source_family",
// except for a model of dfengine's own, which says itself where it came from.
TensorFile to_torchvision(TensorFile file, std::span<const Stage> stages,
                          const std::string& name_for_errors);

}  // namespace dfengine::weights
