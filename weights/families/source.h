// Families of weight files: whose names, layouts and conventions a file follows, and its
// translation to the engine's own: torchvision's names and layouts, conventions as metadata.
#pragma once

#include <span>
#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// One family. Adding one: a row in source.cpp and a source_<family>.{h,cpp} with these two
// functions.
struct Source {
  const char* family;
  // By the names of the tensors (and the metadata a reader left); never by the file's name.
  bool (*recognise)(const TensorFile& file);
  // The same tensors under torchvision's names, shapes and layouts. Sets the metadata entries that
  // the family's conventions decide and the file does not say: bn_eps, pad_mode, mean, std, ...
  // (the names of engine/model/model_metadata.cpp). Tensors without a counterpart keep their names, so
  // that the model loader lists them. Throws ModelFileError for a network that is not MobileNetV2
  // as published.
  TensorFile (*translate)(TensorFile file, const std::string& name_for_errors);
};

// All families, in the order they are tried; the last takes everything.
std::span<const Source> sources();

// Recognises and translates; the family's name goes into metadata "source_family", except for a
// model of dfengine's own, which says itself where it came from.
TensorFile to_torchvision(TensorFile file, const std::string& name_for_errors);

}  // namespace dfengine::weights
