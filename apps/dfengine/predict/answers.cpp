#include "apps/dfengine/predict/answers.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/data/sets/csv.h"

namespace dfengine {
namespace {

// A file name need not be UTF-8: bytes that are not become U+FFFD.
std::string dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string AnswerText::begin() const {
  switch (format_) {
    case AnswerFormat::Table:
      return fmt::format("prob_fake  verdict  {}{}path (threshold {:g})\n",
                         kind_ == AnswerKind::OfTable ? "decided by  " : "",
                         kind_ == AnswerKind::Stability ? "   from      to  " : "", threshold_);
    case AnswerFormat::Csv:
      return fmt::format("path,prob_fake,verdict,{}{}error\n",
                         kind_ == AnswerKind::OfTable ? "decided_by," : "",
                         kind_ == AnswerKind::Stability ? "prob_low,prob_high," : "");
    case AnswerFormat::Json:
      return fmt::format("{{\n  \"positive_class\": {},\n  \"threshold\": {},\n  \"results\": [",
                         dump(model_.positive_class), dump(threshold_));
    case AnswerFormat::Jsonl:
      break;
  }
  return "";
}

std::string AnswerText::line(const Answer& answer) {
  switch (format_) {
    case AnswerFormat::Table:
      return table_line(answer);
    case AnswerFormat::Csv:
      return csv_line(answer);
    case AnswerFormat::Json:
      return (std::exchange(first_, false) ? "\n    " : ",\n    ") + json_of(answer);
    case AnswerFormat::Jsonl:
      break;
  }
  return json_of(answer) + "\n";
}

std::string AnswerText::end() const {
  if (format_ != AnswerFormat::Json) return "";
  return first_ ? "]\n}\n" : "\n  ]\n}\n";
}

std::string AnswerText::table_line(const Answer& a) const {
  if (!a.prob) return "";
  std::string text = fmt::format("{:9.4f}  {:7}  ", *a.prob, a.verdict);
  if (kind_ == AnswerKind::OfTable) text += fmt::format("{:10}  ", a.decided_by);
  if (a.low) text += fmt::format("{:.4f}  {:.4f}  ", *a.low, *a.high);
  return text + a.path + "\n";
}

std::string AnswerText::csv_line(const Answer& a) const {
  std::string text = csv_path(a.path) + "," + (a.prob ? fmt::format("{:.8f}", *a.prob) : "") + "," +
                     csv_text(a.verdict) + ",";
  if (kind_ == AnswerKind::OfTable) text += a.decided_by + ",";
  if (kind_ == AnswerKind::Stability)
    text += a.low ? fmt::format("{:.8f},{:.8f},", *a.low, *a.high) : ",,";
  return text + csv_text(a.error) + "\n";
}

std::string AnswerText::json_of(const Answer& a) const {
  nlohmann::json one = {{"path", a.path}};
  if (!a.prob) {
    one["error"] = a.error;
    return dump(one);
  }
  one["prob_fake"] = *a.prob;
  one["verdict"] = a.verdict;
  if (kind_ == AnswerKind::OfTable) one["decided_by"] = a.decided_by;
  if (a.low) {
    one["prob_low"] = *a.low;
    one["prob_high"] = *a.high;
  }
  return dump(one);
}

}  // namespace dfengine
