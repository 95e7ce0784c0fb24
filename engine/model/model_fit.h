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
// The same of a file in memory.
weights::TensorFile parse_weights(std::span<const std::byte> file,
                                  const std::string& name_for_errors);

struct ModelFit {
  ModelMetadata metadata;
  Network network;  // of these metadata
  // Names of tensors; a misshaped one also has both shapes.
  std::vector<std::string> missing, unexpected, misshaped;
  // Sentences about a file that is not dfengine's: what was taken to be so though the file cannot
  // say it, and what of the file is no part of the model.
  std::vector<std::string> remarks;
  std::string looks_like;  // of a file without the base: another network, where its names tell

  bool complete() const { return missing.empty() && unexpected.empty() && misshaped.empty(); }
  // The network's title, what the file looks like, and a line for each list that is not empty, long
  // ones cut: "does not fit MobileNetV2:\n  2 missing: A, B".
  std::string faults() const;
};

// Where the metadata do not say them, the head and the width follow from the tensors. Of a file
// that is not dfengine's the base is enough: a head that fits no network of ours, and tensors
// outside of the base's blocks, become remarks. Throws ModelFileError for metadata that make no
// sense.
ModelFit fit_model(const weights::TensorFile& file, const std::string& name_for_errors,
                   std::span<const Architecture> table = architectures());

// What a file holds that is no whole model, in lines: tensors, metadata, and what does not fit.
std::string describe_misfit(const weights::TensorFile& file, const ModelFit& fit);

}  // namespace dfengine
