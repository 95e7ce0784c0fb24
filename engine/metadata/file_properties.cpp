#include "engine/metadata/file_properties.h"

#include <fmt/format.h>

#include <fstream>

#include "engine/data/jpeg_header.h"
#include "engine/metadata/table_scores.h"
#include "kernels/error.h"

namespace dfengine {
namespace {

constexpr const char* kColumns[] = {"file:bytes",        "file:width",       "file:height",
                                    "file:quantisation", "file:subsampling", "file:exif"};

std::vector<std::string> properties(const std::filesystem::path& file) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  std::ifstream stream(file, std::ios::binary);
  if (error || !stream) throw DataError("cannot read " + file.string());
  std::vector<char> head(
      static_cast<std::size_t>(std::min<std::uintmax_t>(size, kJpegHeaderBytes)));
  stream.read(head.data(), std::ssize(head));
  const auto bytes =
      std::as_bytes(std::span(head)).first(static_cast<std::size_t>(stream.gcount()));
  std::vector<std::string> values = {fmt::format("{}", size)};
  const auto header = read_jpeg_header(bytes);
  if (header) {
    values.push_back(fmt::format("{}", header->w));
    values.push_back(fmt::format("{}", header->h));
    values.push_back(fmt::format("{}", header->quantisation_sum(0)));
    values.push_back(fmt::format("{}x{}", header->chroma_across, header->chroma_down));
    values.push_back(header->exif ? "1" : "0");
  }
  values.resize(std::size(kColumns));
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
