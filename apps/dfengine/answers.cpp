#include "apps/dfengine/answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/data/sets/csv.h"

namespace dfengine {
namespace {

// Whether the answers say how far changes of the picture move them.
bool has_range(const std::vector<Answer>& answers) {
  return std::ranges::any_of(answers, [](const Answer& a) { return a.low.has_value(); });
}

void print_lines(const std::vector<Answer>& answers, const Model& model, bool of_table) {
  if (of_table)
    fmt::print("prob_fake  verdict  decided by  path\n");
  else
    fmt::print("prob_fake  verdict  {}path (threshold {:g})\n",
               has_range(answers) ? "   from      to  " : "", model.threshold);
  for (const Answer& a : answers) {
    if (!a.prob) continue;
    fmt::print("{:9.4f}  {:7}  ", *a.prob, a.verdict);
    if (of_table) fmt::print("{:10}  ", a.decided_by);
    if (a.low) fmt::print("{:.4f}  {:.4f}  ", *a.low, *a.high);
    fmt::print("{}\n", a.path);
  }
}

void print_csv(const std::vector<Answer>& answers, bool of_table) {
  const bool range = has_range(answers);
  fmt::print("path,prob_fake,verdict,{}{}error\n", of_table ? "decided_by," : "",
             range ? "prob_low,prob_high," : "");
  for (const Answer& a : answers) {
    const std::string prob = a.prob ? fmt::format("{:.8f}", *a.prob) : "";
    const std::string decided_by = of_table ? a.decided_by + "," : "";
    const std::string ends = !range  ? ""
                             : a.low ? fmt::format("{:.8f},{:.8f},", *a.low, *a.high)
                                     : ",,";
    fmt::print("{},{},{},{}{}{}\n", csv_path(a.path), prob, csv_text(a.verdict), decided_by, ends,
               csv_text(a.error));
  }
}

void print_json(const std::vector<Answer>& answers, const Model& model, bool of_table) {
  nlohmann::json results = nlohmann::json::array();
  for (const Answer& a : answers) {
    nlohmann::json one = {{"path", a.path}};
    if (a.prob) {
      one["prob_fake"] = *a.prob;
      one["verdict"] = a.verdict;
      if (of_table) one["decided_by"] = a.decided_by;
      if (a.low) {
        one["prob_low"] = *a.low;
        one["prob_high"] = *a.high;
      }
    } else {
      one["error"] = a.error;
    }
    results.push_back(std::move(one));
  }
  nlohmann::json report = {{"positive_class", model.positive_class},
                           {"results", std::move(results)}};
  if (!of_table) report["threshold"] = model.threshold;
  // A file name need not be UTF-8: bytes that are not become U+FFFD.
  fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

void print_answers(const std::vector<Answer>& answers, AnswerFormat format, const Model& model,
                   bool of_table) {
  if (format == AnswerFormat::Csv) {
    print_csv(answers, of_table);
  } else if (format == AnswerFormat::Json) {
    print_json(answers, model, of_table);
  } else {
    print_lines(answers, model, of_table);
  }
}

std::vector<std::string> errors_of(const std::vector<Answer>& answers) {
  std::vector<std::string> errors;
  for (const Answer& a : answers)
    if (!a.error.empty()) errors.push_back(a.error);
  return errors;
}

}  // namespace dfengine
