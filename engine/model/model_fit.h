// Reads a file's tensors as a MobileNetV2: which one it is, and what does not fit.
#pragma once

#include "engine/model/model_metadata.h"

namespace dfengine {

struct ModelFit {
  ModelMetadata metadata;  // width, head and their sizes as the tensors tell them
  // Names of tensors; of misshaped ones with both shapes.
  std::vector<std::string> missing, unexpected, misshaped;

  bool complete() const { return missing.empty() && unexpected.empty() && misshaped.empty(); }
  // A line per list that is not empty, long ones cut: "\n  2 missing: A, B".
  std::string faults() const;
};

// Where the metadata does not say them, the head and the width follow from the tensors. Throws
// ModelFileError for metadata that make no sense.
ModelFit fit_model(const weights::TensorFile& file, const std::string& name_for_errors);

// What a model holds, in lines: parameters, metadata, and what it lacks to be a detector that can
// be trained whole.
std::string describe_model(const Model& model);
// The same of a file that is no whole model: tensors, metadata, what does not fit.
std::string describe_misfit(const weights::TensorFile& file, const ModelFit& fit);

}  // namespace dfengine
