// What the detectors of a model file say about the pictures of a table.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engine/data/sets/dataset.h"
#include "engine/model/model.h"
#include "engine/tables/metadata/metadata_model.h"
#include "kernels/base/enum_names.h"
#include "kernels/base/thread_pool.h"

namespace dfengine {

// The column "path" as samples under root, in the table's order, with label 0. Throws DataError
// naming `name` where the column is absent.
Dataset table_pictures(const CsvTable& table, const std::filesystem::path& root,
                       const std::string& name);

// The image model's logits [samples], divided by its temperature, in the data set's order.
// done(pictures so far) is called after each batch; it may be empty. Throws DataError naming a
// picture that cannot be read, ModelFileError for an output that is not a number.
std::vector<double> image_logits(const Model& model, ThreadPool& pool, const Dataset& pictures,
                                 const std::function<void(Index)>& done = {});

// The sigmoid of each.
std::vector<double> to_probabilities(const std::vector<double>& logits);

// Answers where metadata does not decide: the hybrid where there is one that uses metadata, else
// the image model.
struct PictureDetector {
  const Model& model;
  const HybridModel* hybrid = nullptr;  // null for the image model

  PictureDetector(const Model& model, const std::optional<HybridModel>& hybrid);
  // The logits of fake of a table's rows that have these image logits. Throws as
  // HybridModel::logits.
  std::vector<double> logits(const std::vector<double>& image, const CsvTable& table,
                             const std::string& name) const;
  // The same for rows whose pictures lie under root. Throws as image_logits, too.
  std::vector<double> logits(ThreadPool& pool, const CsvTable& table,
                             const std::filesystem::path& root, const std::string& name,
                             const std::function<void(Index)>& done = {}) const;
  // The probability from which a row is called fake: .5 for the hybrid, else the model's own.
  double threshold() const { return hybrid != nullptr ? 0.5 : model.threshold; }
};

// Moves logits so that a probability of .5 means what `threshold` meant.
std::vector<double> around_half(std::vector<double> logits, double threshold);

// Keeps what the hybrid of a model file says where the model's temperature was another, `before`:
// its weight belongs to logits divided by that. Throws as read_table_models.
void keep_hybrid(Model& model, double before, const std::string& name_for_errors);

// The answer for one row: the probability of fake, the class as 0 or 1, and what gave it. Where the
// row's picture was needed and cannot be read, it is the reason instead; where nobody got to it,
// neither, and the class is -1.
struct TableScore {
  enum class Source { Metadata, Image, Hybrid };

  double prob = 0;
  int verdict = 0;
  Source source = Source::Image;
  std::string error = {};  // "" where there is an answer
};
template <>
inline constexpr auto enum_names<TableScore::Source> =
    names_for<TableScore::Source>("source", {{"metadata", TableScore::Source::Metadata},
                                             {"image", TableScore::Source::Image},
                                             {"hybrid", TableScore::Source::Hybrid}});

// Scores each row of a table by the detectors of a model file: by the cascade's metadata where it
// decides, else by the PictureDetector, which looks at these rows' pictures alone. go_on(pictures
// so far) is called after each batch and may end it by false; it may be empty. Throws what these
// throw, but not for pictures that cannot be read.
std::vector<TableScore> score_table(const Model& model, const TableModels& detectors,
                                    ThreadPool& pool, const CsvTable& table,
                                    const std::filesystem::path& root, const std::string& name,
                                    const std::function<bool(Index)>& go_on = {});

}  // namespace dfengine
