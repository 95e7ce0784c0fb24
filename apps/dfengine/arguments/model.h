// Loading the model that a person named.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "engine/data/sets/source.h"
#include "engine/model/model.h"

namespace dfengine {

// What a person should know of a file that is not dfengine's own, on standard error.
void print_remarks(const std::filesystem::path& file, std::span<const std::string> remarks);

// load_model and load_detector, with the model's remarks printed.
Model open_model(const std::filesystem::path& path);
Model open_detector(const std::filesystem::path& path);

// Says on standard error where a hybrid or cascade is asked for what the picture alone says.
void print_unread_columns(const std::filesystem::path& file, const Model& model);

// Says on standard error on how many of the pictures to measure, which the options opened, the
// model was trained.
void print_seen_pictures(const std::filesystem::path& file, const Model& model,
                         const Dataset& dataset, const DataOptions& options);

// A threshold that a person names takes the place of the model's; the band in which the model is
// unsure belongs to its own.
void set_threshold(Model& model, const std::optional<double>& threshold);

}  // namespace dfengine
