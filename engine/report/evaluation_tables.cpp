#include "engine/report/evaluation_tables.h"

#include <fmt/format.h>

#include <cmath>

namespace dfengine {

report::Table to_table(const std::vector<RobustnessRow>& rows) {
  const auto fields = metric_fields();
  report::Table table;
  table.caption = "Under changes of the pictures";
  table.columns = {"changed by"};
  for (const MetricField& field : fields)
    if (is_told(field)) table.columns.push_back(field.title);
  for (const RobustnessRow& row : rows) {
    const auto name = row.what ? fmt::format("{} {:g}", row.what->title, row.what->strength)
                               : std::string("nothing");
    table.rows.push_back({name});
    for (std::size_t i = 0; i < fields.size(); ++i)
      if (is_told(fields[i]))
        table.rows.back().push_back(
            with_interval(row.summary.metrics.*fields[i].value, row.summary.intervals[i]));
  }
  return table;
}

report::Table to_table(const std::vector<GroupRow>& rows, const std::string& by) {
  report::Table table;
  table.caption = "By " + by + "; a group of one class is set against all pictures of the other";
  table.columns = {"group",    "real",           "fake",           "ROC-AUC",
                   "accuracy", "TPR at FPR .01", "TPR at FPR .005"};
  const auto figure = [](double value) {
    return std::isnan(value) ? std::string("-") : fmt::format("{:.4f}", value);
  };
  std::vector<GroupRow> all = rows;
  all.push_back(mean_of(rows));
  all.push_back(worst_of(rows));
  for (const GroupRow& row : all)
    table.rows.push_back({row.group, fmt::format("{}", row.real), fmt::format("{}", row.fake),
                          figure(row.roc_auc), figure(row.accuracy), figure(row.tpr_at_fpr_1),
                          figure(row.tpr_at_fpr_05)});
  return table;
}

report::Table to_table(const UnsureCount& c) {
  const auto share = [](Index part, Index all) {
    return all == 0 ? std::string("-")
                    : fmt::format("{:.2f} %",
                                  100 * static_cast<double>(part) / static_cast<double>(all));
  };
  report::Table table;
  table.caption =
      fmt::format("Unsure is what lies between {:.4f} and {:.4f}", c.band.from, c.band.to);
  table.columns = {"answers", "pictures", "share", "wrong", "of them"};
  table.rows = {
      {"unsure", fmt::format("{}", c.unsure), share(c.unsure, c.unsure + c.sure), "-", "-"},
      {"sure", fmt::format("{}", c.sure), share(c.sure, c.unsure + c.sure),
       fmt::format("{}", c.wrong), share(c.wrong, c.sure)}};
  return table;
}

std::string to_text(const std::vector<RobustnessRow>& rows) {
  const report::Table table = to_table(rows);
  std::string text;
  const auto add = [&text](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i)
      text += fmt::format("{:{}}", cells[i], i == 0 ? 24 : i + 1 < cells.size() ? 26 : 0);
    text += "\n";
  };
  add(table.columns);
  for (const std::vector<std::string>& row : table.rows) add(row);
  return text;
}

}  // namespace dfengine
