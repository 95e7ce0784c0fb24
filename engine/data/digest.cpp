#include "engine/data/digest.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <span>

#include "engine/data/pack.h"
#include "engine/data/tar.h"
#include "kernels/base/checksum.h"
#include "kernels/base/sha256.h"

namespace dfengine {

std::string digest(const Dataset& train, const Dataset& valid) {
  std::string text;
  for (const Dataset* set : {&train, &valid}) {
    if (set->pack) text += set->pack->index().digest + '\n';
    for (const Sample& s : set->samples) {
      std::error_code error;
      const std::uintmax_t size = set->tars ? set->tars->entry(s.record).bytes
                                            : std::filesystem::file_size(set->path(s), error);
      text += s.relative + '\0' + std::to_string(s.label);
      text += ' ' + (error ? "none" : std::to_string(size)) + '\n';
    }
  }
  return sha256_hex(std::as_bytes(std::span(text)));
}

std::string digest(const CsvTable& table) {
  std::string text;
  // Lengths part the fields, so that no two tables give the same text.
  const auto add = [&text](const std::vector<std::string>& row) {
    for (const std::string& field : row) text += fmt::format("{}:{}", field.size(), field);
    text += '\n';
  };
  add(table.columns);
  for (const auto& row : table.rows) add(row);
  return sha256_hex(std::as_bytes(std::span(text)));
}

std::string place_digest(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(path, error);
  return fmt::format("{:016x}", checksum((error ? path.lexically_normal() : whole).native()));
}

std::string source_digest(const std::vector<Dataset>& splits) {
  std::string text;
  for (const Dataset& split : splits) {
    for (const Sample& s : split.samples) {
      struct stat status = {};
      text += fmt::format("{}/{}/{}/", split.split, s.relative, s.label);
      const std::filesystem::path file =
          split.tars ? split.tars->file_of(s.record).file() : split.path(s);
      if (split.tars) text += fmt::format("{}/", split.tars->entry(s.record).at);
      if (::stat(file.c_str(), &status) == 0) {
        text += fmt::format("{}/{}.{}\n", status.st_size, status.st_mtim.tv_sec,
                            status.st_mtim.tv_nsec);
      } else {
        text += "none\n";
      }
    }
  }
  return sha256_hex(std::as_bytes(std::span(text)));
}

}  // namespace dfengine
