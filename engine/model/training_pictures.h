// Finds whether a model was trained on pictures, because its scores there measure nothing.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/data/sets/source.h"
#include "engine/model/model.h"

namespace dfengine {

// The note with a run's own arguments, and the one with those of the runs that a model came from: a
// JSON list of such texts.
inline constexpr const char* kRunArguments = "train_args";
inline constexpr const char* kEarlierArguments = "earlier_train_args";

// Notes in `made` which runs these models came from.
void note_earlier_runs(ModelMetadata& made, std::span<const Model> models);

// What a model's notes tell of some pictures.
struct SeenPictures {
  std::size_t count = 0;  // so many of them it was trained on
  std::string set;        // text for people: the set of training, and how that was divided
};

// Asks the reader of the recorded arguments which pictures training had, in this model's run and in
// those that it came from. Where a run's set cannot be read here any more, its pictures are those
// in a folder of its data whose name means "train" (training, train_real), up to two levels down,
// or in its training table, where this still exists. Of a place a model has the name and a digest:
// it is looked for among the folders above the pictures (full paths) and among `near` and what is
// above these. A picture is known by its path, as written or with links followed.
SeenPictures seen_in_training(const std::map<std::string, std::string>& notes,
                              const std::vector<std::filesystem::path>& pictures,
                              const std::vector<std::filesystem::path>& near = {});
// The same of a data set that these options opened.
SeenPictures seen_in_training(const std::map<std::string, std::string>& notes,
                              const Dataset& pictures, const DataOptions& options);

// Throws UsageError if the model was trained on some of the pictures of the table `name`.
void refuse_training_pictures(const Model& model,
                              const std::vector<std::filesystem::path>& pictures,
                              const std::string& name);

}  // namespace dfengine
