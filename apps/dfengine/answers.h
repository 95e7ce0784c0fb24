// What predict says about each picture, as a table, as CSV or as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/model/model.h"
#include "kernels/base/enum_names.h"

namespace dfengine {

enum class AnswerFormat { Table, Csv, Json };
template <>
inline constexpr auto enum_names<AnswerFormat> = names_for<AnswerFormat>(
    "format",
    {{"table", AnswerFormat::Table}, {"csv", AnswerFormat::Csv}, {"json", AnswerFormat::Json}});

// The answer for one picture, or why there is none.
struct Answer {
  std::string path;
  std::optional<double> prob = {};  // of being fake; none: the picture could not be read
  std::string verdict = {};         // the class that this means
  std::string decided_by = {};      // of a table's row: metadata, image or hybrid
  std::string error = {};
  // With --stability: the least and greatest prob under its changes.
  std::optional<double> low = {}, high = {};
};

// The verdict on a picture whose answer is not to be trusted.
inline constexpr const char* kUnsure = "unsure";

// Prints the answers in this format: table, csv or json. Those about the rows of a table also say
// what decided, and have no threshold in common.
void print_answers(const std::vector<Answer>& answers, AnswerFormat format, const Model& model,
                   bool of_table);

// The errors among them.
std::vector<std::string> errors_of(const std::vector<Answer>& answers);

}  // namespace dfengine
