#include "apps/dfengine/predict_table.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/dfengine/commands.h"
#include "engine/tables/metadata/property_columns.h"
#include "engine/tables/metadata/table_scores.h"

namespace dfengine {
namespace {

using Paths = std::vector<std::string_view>;

void print_json(const Model& model, const Paths& paths, const std::vector<TableScore>& scores) {
  nlohmann::json all = nlohmann::json::array();
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const TableScore& s = scores[i];
    nlohmann::json one = {{"path", paths[i]}};
    if (s.error.empty()) {
      one["prob_fake"] = s.prob;
      one["verdict"] = model.classes[static_cast<std::size_t>(s.verdict)];
      one["decided_by"] = name_of(s.source);
    } else {
      one["error"] = s.error;
    }
    all.push_back(std::move(one));
  }
  const nlohmann::json report = {{"positive_class", model.positive_class},
                                 {"results", std::move(all)}};
  fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_csv(const Model& model, const Paths& paths, const std::vector<TableScore>& scores) {
  fmt::print("path,prob_fake,verdict,decided_by,error\n");
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const TableScore& s = scores[i];
    const std::string path = csv_field(std::string(paths[i]));
    if (s.error.empty()) {
      fmt::print("{},{:.8f},{},{},\n", path, s.prob,
                 model.classes[static_cast<std::size_t>(s.verdict)], name_of(s.source));
    } else {
      fmt::print("{},,,,{}\n", path, csv_field(s.error));
    }
  }
}

void print_lines(const Model& model, const Paths& paths, const std::vector<TableScore>& scores) {
  fmt::print("prob_fake  verdict  decided by  path\n");
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const TableScore& s = scores[i];
    if (s.error.empty())
      fmt::print("{:9.4f}  {:7}  {:10}  {}\n", s.prob,
                 model.classes[static_cast<std::size_t>(s.verdict)], name_of(s.source), paths[i]);
  }
}

// Says which pictures could not be read, and ends with the exit code for bad data.
void report_errors(const std::vector<TableScore>& scores) {
  std::fflush(stdout);
  std::size_t bad = 0;
  for (const TableScore& s : scores) {
    if (s.error.empty()) continue;
    ++bad;
    fmt::print(stderr, "dfengine: {}\n", s.error);
  }
  if (bad > 0)
    throw Exit{ExitCode::BadData, fmt::format("{} of {} rows need a picture that could not be read",
                                              bad, scores.size())};
}

}  // namespace

void predict_table(Model& model, const std::filesystem::path& model_file,
                   const std::filesystem::path& csv, const std::filesystem::path& data,
                   AnswerFormat format, const DeviceOptions& device) {
  device.check_cpu();
  const TableModels detectors = read_table_models(model.notes, model_file.string());
  const std::filesystem::path root = data.empty() ? csv.parent_path() : data;
  CsvTable table = read_csv(csv);
  if (detectors.file_properties()) append_file_properties(table, root, csv.string());
  ThreadPool pool(device.thread_count());
  const auto scores = score_table(model, detectors, pool, table, root, csv.string());
  const Paths paths = column_values(table, table.find("path"));
  if (format == AnswerFormat::Json) {
    print_json(model, paths, scores);
  } else if (format == AnswerFormat::Csv) {
    print_csv(model, paths, scores);
  } else {
    print_lines(model, paths, scores);
  }
  report_errors(scores);
}

}  // namespace dfengine
