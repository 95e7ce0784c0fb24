// libFuzzer target for metadata.json and the tables that it reads; tests/fuzz.sh builds and runs
// it.
#include <cstdlib>

#include "engine/tables/metadata/metadata_model.h"
#include "kernels/base/error.h"
#include "tests/fuzz/memory_file.h"

// Any file gives a model that reads tables, or an Error.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace dfengine;
  static fuzz::MemoryFile file;
  MetadataModel model;
  try {
    model = load_metadata_model(file.holding(std::as_bytes(std::span(data, size))));
  } catch (const ModelFileError&) {
    return 0;
  }
  CsvTable table;
  std::vector<std::string> row;
  for (const ColumnEncoding& column : model.encoder.columns) {
    table.columns.push_back(column.name);
    row.push_back(column.levels.empty() ? "2024-02-30 12:00:00" : column.levels[0] + " 1e308");
  }
  table.rows = {row, std::vector<std::string>(row.size())};
  table.lines = {2, 3};
  try {
    if (model.logits(table, "fuzz").size() != table.rows.size()) std::abort();
  } catch (const DataError&) {
  }
  return 0;
}
