#include "apps/dfengine/arguments/model.h"

#include <fmt/ranges.h>

#include <set>

#include "engine/data/sets/class_names.h"
#include "engine/model/training_pictures.h"
#include "engine/tables/metadata/metadata_model.h"
#include "kernels/base/error.h"

namespace dfengine {

void print_remarks(const std::filesystem::path& file, std::span<const std::string> remarks) {
  for (const std::string& remark : remarks)
    fmt::print(stderr, "dfengine: {}: {}\n", file.string(), remark);
}

Model open_model(const std::filesystem::path& path) {
  Model model = load_model(path);
  print_remarks(path, model.remarks);
  return model;
}

Model open_detector(const std::filesystem::path& path) {
  Model model = load_detector(path);
  print_remarks(path, model.remarks);
  return model;
}

// What is wrong with their entries is said and no more: the image answers without them.
void print_unread_columns(const std::filesystem::path& file, const Model& model) try {
  const TableModels detectors = read_table_models(model.notes, file.string());
  std::set<std::string> names;
  const auto add = [&](const MetadataModel& metadata) {
    for (const ColumnEncoding& column : metadata.encoder.columns) names.insert(column.name);
  };
  if (detectors.hybrid) add(detectors.hybrid->metadata);
  if (detectors.cascade) add(detectors.cascade->metadata);
  if (names.empty()) return;
  fmt::print(stderr,
             "dfengine: {}: this model also reads columns of a table ({}): here the image alone "
             "answers, and predict --csv asks both\n",
             file.string(), fmt::join(names, ", "));
} catch (const ModelFileError& e) {
  fmt::print(stderr, "dfengine: {}\n", e.what());
}

void print_seen_pictures(const std::filesystem::path& file, const Model& model,
                         const Dataset& dataset, const DataOptions& options) {
  const SeenPictures seen = seen_in_training(model.notes, dataset, options);
  if (seen.count == 0) return;
  const bool asked_for = dataset.split == "all" || canonical_split(dataset.split) == "train";
  fmt::print(stderr, "dfengine: {}{}: the model was trained on {} of these {} pictures ({}){}\n",
             asked_for ? "" : "warning: ", file.string(), seen.count, dataset.samples.size(),
             seen.set,
             asked_for ? ""
                       : ": figures there are better than on new ones. Divide the set as that run "
                         "did, or measure others");
}

void set_threshold(Model& model, const std::optional<double>& threshold) {
  if (!threshold) return;
  model.threshold = *threshold;
  model.unsure.reset();
}

}  // namespace dfengine
