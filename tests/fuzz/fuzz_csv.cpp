// libFuzzer target for tables and what their columns mean; tests/fuzz.sh builds and runs it.
#include <cstdlib>
#include <string>

#include "engine/data/sets/csv.h"
#include "engine/data/sets/csv_source.h"
#include "engine/data/sets/table_columns.h"
#include "engine/tables/metadata/encoder.h"
#include "kernels/base/error.h"

namespace {

using dfengine::CsvTable;

std::string line_of(const std::vector<std::string>& fields) {
  std::string line;
  for (const std::string& field : fields) line += dfengine::csv_field(field) + ",";
  line.pop_back();
  return line + "\n";
}

// What was read can be written and read again unchanged. The first line is one that no rule about
// separators or byte order marks takes for something else.
void check_written(const CsvTable& table) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < table.columns.size(); ++i) names.push_back("c" + std::to_string(i));
  std::string text = line_of(names);
  for (const auto& row : table.rows) {
    text += line_of(row);
    // An empty line is no row.
    if (row.size() == 1 && row[0].empty()) return;
  }
  if (dfengine::parse_csv(text, "again").rows != table.rows) std::abort();
}

void check_meaning(const CsvTable& table) {
  std::string rule;
  dfengine::table_labels(table, "fuzz", {}, "", {}, rule);
  dfengine::path_column(table, {}, "fuzz");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CsvTable table;
  try {
    table = dfengine::parse_csv(text, "fuzz");
  } catch (const dfengine::Error&) {
    return 0;
  }
  for (const auto& row : table.rows)
    if (row.size() != table.columns.size()) std::abort();
  check_written(table);
  try {
    check_meaning(table);
  } catch (const dfengine::Error&) {
  }
  try {
    dfengine::fit_encoder(table, table.columns, "fuzz").encode(table, "fuzz");
  } catch (const dfengine::Error&) {
  }
  return 0;
}
