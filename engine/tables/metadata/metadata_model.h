// Detectors that read a table: its columns alone, or together with the image model's score, or in
// front of the image model.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "engine/tables/metadata/encoder.h"
#include "engine/tables/metadata/logistic.h"

namespace dfengine {

// A logistic regression on the columns of a table.
struct MetadataModel {
  Encoder encoder;
  LogisticRegression regression;
  bool file_properties = false;  // whether the table needs append_file_properties
  std::string trained_on;        // digest() of the table that it was fitted on

  // The logit of fake for each row. Throws DataError for a table without a column that it needs.
  std::vector<double> logits(const CsvTable& table, const std::string& name) const;
};

// Throws DataError without columns, else as fit_encoder and fit_logistic.
MetadataModel fit_metadata(const CsvTable& table, const std::vector<int>& label,
                           const std::vector<std::string>& columns, const std::string& name);

// The image model's calibrated logit and the columns, added: image_weight * image + metadata.
struct HybridModel {
  double image_weight = 1;
  MetadataModel metadata;

  // Where it does not, the result is the image's score, unchanged.
  bool uses_metadata() const { return !metadata.encoder.columns.empty(); }
  // image_logit [rows]. Throws ShapeError when the sizes differ, else as MetadataModel::logits.
  std::vector<double> logits(const std::vector<double>& image_logit, const CsvTable& table,
                             const std::string& name) const;
};

// What metadata decides before the image model is asked. A row whose probability of fake is at or
// below `real_below` is called real, and one at or above `fake_above` is called fake. A side
// without a threshold decides nothing.
struct Cascade {
  MetadataModel metadata;
  std::optional<double> real_below, fake_above;
  double max_error = 0;   // the budget the thresholds were chosen for
  double confidence = 0;  // with which the budget holds

  // 0 for real, 1 for fake, -1 for undecided.
  int decide(double prob) const;
};

// The two as they stand among a model file's notes, as "metadata.hybrid" and "metadata.cascade".
struct TableModels {
  std::optional<HybridModel> hybrid;
  std::optional<Cascade> cascade;

  // Whether the table needs append_file_properties.
  bool file_properties() const {
    return (hybrid && hybrid->metadata.file_properties) ||
           (cascade && cascade->metadata.file_properties);
  }
};
inline constexpr const char* kHybridEntry = "metadata.hybrid";
inline constexpr const char* kCascadeEntry = "metadata.cascade";
// Throws ModelFileError naming file and entry for an entry that dfengine did not write.
TableModels read_table_models(const std::map<std::string, std::string>& notes,
                              const std::string& name_for_errors);
std::string to_note(const HybridModel& hybrid);
std::string to_note(const Cascade& cascade);

// The file of a metadata model in the folder of metadata train.
inline constexpr const char* kMetadataFile = "metadata.json";

// A JSON file that holds a metadata model alone. It is written atomically; of a folder
// kMetadataFile is read. Reading throws ModelFileError.
void save_metadata_model(const std::filesystem::path& file, const MetadataModel& model);
MetadataModel load_metadata_model(const std::filesystem::path& given);

}  // namespace dfengine
