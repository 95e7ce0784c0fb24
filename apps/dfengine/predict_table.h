// predict --csv: pictures with the columns of a table beside them.
#pragma once

#include <filesystem>
#include <string>

#include "apps/dfengine/common.h"
#include "engine/model/model.h"

namespace dfengine {

// How answers are printed.
enum class AnswerFormat { Table, Csv, Json };
template <>
inline constexpr auto enum_names<AnswerFormat> = names_for<AnswerFormat>(
    "format",
    {{"table", AnswerFormat::Table}, {"csv", AnswerFormat::Csv}, {"json", AnswerFormat::Json}});

// Prints probability, verdict and what decided for every row of csv.
// data: where the paths start; empty: the table's folder.
void predict_table(Model& model, const std::filesystem::path& model_file,
                   const std::filesystem::path& csv, const std::filesystem::path& data,
                   AnswerFormat format, const DeviceOptions& device);

}  // namespace dfengine
