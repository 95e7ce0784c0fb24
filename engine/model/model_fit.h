// From a weights file of any family to the network that it holds, and what does not fit.
#pragma once

#include <filesystem>

#include "engine/model/model_metadata.h"
#include "layers/networks/architectures.h"
#include "weights/tensor_file.h"

namespace dfengine {

// The file's tensors under torchvision's names and layouts, with its conventions as metadata
// (weights/families/source.h).
weights::TensorFile translate_weights(weights::TensorFile file, const std::string& name_for_errors);
weights::TensorFile read_weights(const std::filesystem::path& file);

struct ModelFit {
  ModelMetadata metadata;
  Network network;  // of these metadata
  // Names of tensors; a misshaped one also has both shapes.
  std::vector<std::string> missing, unexpected, misshaped;

  bool complete() const { return missing.empty() && unexpected.empty() && misshaped.empty(); }
  // A line for each list that is not empty, long ones cut: "\n  2 missing: A, B".
  std::string faults() const;
};

// Where the metadata do not say them, the head and the width follow from the tensors. Throws
// ModelFileError for metadata that make no sense.
ModelFit fit_model(const weights::TensorFile& file, const std::string& name_for_errors,
                   std::span<const Architecture> table = architectures());

// What a file holds that is no whole model, in lines: tensors, metadata, and what does not fit.
std::string describe_misfit(const weights::TensorFile& file, const ModelFit& fit);

}  // namespace dfengine
