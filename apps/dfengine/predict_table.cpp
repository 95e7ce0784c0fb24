#include "apps/dfengine/predict_table.h"

#include "apps/dfengine/answers.h"
#include "engine/tables/metadata/property_columns.h"
#include "engine/tables/metadata/table_scores.h"

namespace dfengine {

void predict_table(Model& model, const std::filesystem::path& model_file,
                   const std::filesystem::path& csv, const std::filesystem::path& data,
                   const std::string& format, const DeviceOptions& device) {
  device.check_cpu();
  const TableModels detectors = read_table_models(model.notes, model_file.string());
  const std::filesystem::path root = data.empty() ? csv.parent_path() : data;
  CsvTable table = read_csv(csv);
  if (detectors.file_properties()) append_file_properties(table, root, csv.string());
  ThreadPool pool(device.thread_count());
  const auto scores = score_table(model, detectors, pool, table, root, csv.string());
  const auto paths = column_values(table, table.find("path"));
  std::vector<Answer> answers;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const TableScore& s = scores[i];
    answers.push_back({.path = std::string(paths[i]), .error = s.error});
    if (!s.error.empty()) continue;
    answers.back().prob = s.prob;
    answers.back().verdict = model.classes[at(s.verdict)];
    answers.back().decided_by = to_string(s.source);
  }
  print_answers(answers, format, model, true);
  end_if_unreadable(errors_of(answers), answers.size(),
                    "rows need a picture that could not be read");
}

}  // namespace dfengine
