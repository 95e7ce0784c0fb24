// Families of weight files: whose names, layouts and conventions a file follows, and how it is
// translated to the engine's own: torchvision's names and layouts, with conventions as metadata.
#pragma once

#include <span>
#include <string>

#include "weights/families/mobilenet_v2_names.h"
#include "weights/tensor_file.h"

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

// Entries of the metadata that a translation leaves for the model loader, in lines: why a part of
// the file is no part of the model, and what was taken to be so though the file cannot say it.
inline constexpr const char* kLeftOut = "left_out";
inline constexpr const char* kAssumed = "assumed";
// How lines of kAssumed begin that a person may have to correct.
inline constexpr const char* kAssumedLabel = "label 1";
inline constexpr const char* kAssumedSize = "pictures have";
inline constexpr const char* kAssumedPixels = "pixels";

extern const Source kKeras, kOnnx, kNames;

// Whether dfengine wrote the file, whose metadata then say all of the model.
bool is_ours(const TensorFile& file);

// Recognises the family and translates. The family's name goes into metadata "source_family",
// except for a model of dfengine's own, which says itself where it came from.
TensorFile to_torchvision(TensorFile file, std::span<const Stage> stages,
                          const std::string& name_for_errors);

}  // namespace dfengine::weights
