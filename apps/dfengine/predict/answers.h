// What predict says about each picture: as a table, as CSV, as JSON, or as a line of JSON each.
#pragma once

#include <optional>
#include <string>

#include "engine/model/model.h"
#include "kernels/base/enum_names.h"

namespace dfengine {

enum class AnswerFormat { Table, Csv, Json, Jsonl };
template <>
inline constexpr auto enum_names<AnswerFormat> =
    names_for<AnswerFormat>("format", {{"table", AnswerFormat::Table},
                                       {"csv", AnswerFormat::Csv},
                                       {"json", AnswerFormat::Json},
                                       {"jsonl", AnswerFormat::Jsonl}});

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

// What all answers of a run have beside the path, the probability, the verdict and the error.
enum class AnswerKind { Plain, Stability, OfTable };

// Makes text of answers, one after the other: begin(), line() for each, end().
class AnswerText {
 public:
  // threshold: from which probability on a picture is called fake. Where metadata decides a table's
  // row, it has bounds of its own.
  AnswerText(AnswerFormat format, AnswerKind kind, const Model& model, double threshold)
      : format_(format), kind_(kind), model_(model), threshold_(threshold) {}

  std::string begin() const;
  std::string line(const Answer& answer);
  std::string end() const;

 private:
  std::string table_line(const Answer& answer) const;
  std::string csv_line(const Answer& answer) const;
  std::string json_of(const Answer& answer) const;

  AnswerFormat format_;
  AnswerKind kind_;
  const Model& model_;
  const double threshold_;
  bool first_ = true;
};

}  // namespace dfengine
