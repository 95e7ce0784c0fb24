#include "engine/report/robustness_table.h"

#include <fmt/format.h>

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
