#include "engine/tables/metadata/property_columns.h"

#include <fmt/format.h>

#include "engine/data/pictures/file_properties.h"
#include "engine/tables/metadata/table_scores.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr const char* kColumns[] = {"file:bytes",        "file:width",       "file:height",
                                    "file:quantisation", "file:subsampling", "file:exif"};

std::vector<std::string> properties(const std::filesystem::path& file) {
  const FileProperties p = read_file_properties(file);
  if (!p.error.empty()) throw DataError("cannot read " + file.string() + ": " + p.error);
  std::vector<std::string> values(std::size(kColumns));
  values[0] = fmt::format("{}", p.bytes);
  if (p.h > 0 && p.w > 0) {
    values[1] = fmt::format("{}", p.w);
    values[2] = fmt::format("{}", p.h);
  }
  if (p.jpeg) {
    values[3] = fmt::format("{}", p.jpeg->quantisation_sum(0));
    values[4] = fmt::format("{}x{}", p.jpeg->chroma_across, p.jpeg->chroma_down);
  }
  if (p.exif) values[5] = *p.exif ? "1" : "0";
  return values;
}

}  // namespace

void append_file_properties(CsvTable& table, const std::filesystem::path& root,
                            const std::string& name) {
  for (const char* column : kColumns)
    if (table.find(column) >= 0)
      throw DataError(fmt::format("{}: there is a column '{}' already", name, column));
  const Dataset pictures = table_pictures(table, root, name);
  for (const char* column : kColumns) table.columns.push_back(column);
  for (std::size_t i = 0; i < table.rows.size(); ++i)
    for (std::string& value : properties(pictures.path(pictures.samples[i])))
      table.rows[i].push_back(std::move(value));
}

}  // namespace dfengine
