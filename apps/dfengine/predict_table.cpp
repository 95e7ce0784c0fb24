#include "apps/dfengine/predict_table.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/metadata/property_columns.h"
#include "engine/metadata/table_scores.h"

namespace dfengine {
namespace {

using Paths = std::vector<std::string_view>;

void print_json(const Model& model, const Paths& paths, const std::vector<TableScore>& scores) {
  nlohmann::json all = nlohmann::json::array();
  for (std::size_t i = 0; i < scores.size(); ++i)
    all.push_back({{"path", paths[i]},
                   {"prob_fake", scores[i].prob},
                   {"verdict", model.classes[static_cast<std::size_t>(scores[i].verdict)]},
                   {"decided_by", to_string(scores[i].source)}});
  const nlohmann::json report = {{"positive_class", model.positive_class},
                                 {"results", std::move(all)}};
  fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_lines(const Model& model, const Paths& paths, const std::vector<TableScore>& scores,
                 bool csv) {
  fmt::print("{}\n",
             csv ? "path,prob_fake,verdict,decided_by" : "prob_fake  verdict  decided by  path");
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const TableScore& s = scores[i];
    const std::string& verdict = model.classes[static_cast<std::size_t>(s.verdict)];
    const char* source = to_string(s.source);
    if (csv) {
      fmt::print("{},{:.8f},{},{}\n", csv_field(std::string(paths[i])), s.prob, verdict, source);
    } else {
      fmt::print("{:9.4f}  {:7}  {:10}  {}\n", s.prob, verdict, source, paths[i]);
    }
  }
}

}  // namespace

void predict_table(Model& model, const std::filesystem::path& model_file,
                   const std::filesystem::path& csv, const std::filesystem::path& data,
                   const std::string& format, const DeviceOptions& device) {
  const TableModels detectors = read_table_models(model.notes, model_file.string());
  const std::filesystem::path root = data.empty() ? csv.parent_path() : data;
  CsvTable table = read_csv(csv);
  if (detectors.file_properties()) append_file_properties(table, root, csv.string());
  cpu::ThreadPool pool(device.thread_count());
  const auto scores = score_table(model, detectors, pool, table, root, csv.string());
  const Paths paths = column_values(table, table.find("path"));
  if (format == "json") {
    print_json(model, paths, scores);
  } else {
    print_lines(model, paths, scores, format == "csv");
  }
}

}  // namespace dfengine
