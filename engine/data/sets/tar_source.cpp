#include "engine/data/sets/tar_source.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "engine/data/sets/listing.h"
#include "engine/data/tar.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

// What the notes beside a picture say of it.
struct Notes {
  std::string label, split;
};

struct Key {
  std::string key, ending;  // in lower case, after the first dot
};

Key key_of(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  const std::size_t dot = name.find('.', slash == name.npos ? 0 : slash + 1);
  if (dot == name.npos) return {name, ""};
  return {name.substr(0, dot), lower_case(name.substr(dot + 1))};
}

std::string text_of(const TarFile& tar, std::size_t entry) {
  constexpr std::uint64_t kMost = 1 << 20;
  if (tar.entries()[entry].bytes > kMost)
    throw DataError(fmt::format("{}: a note of more than {} bytes", tar.name_of(entry), kMost));
  std::vector<std::byte> bytes;
  tar.read(entry, bytes);
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.pop_back();
  return text;
}

std::string field_of(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

void read_json(const TarFile& tar, std::size_t entry, Notes& notes) {
  const nlohmann::json json = nlohmann::json::parse(text_of(tar, entry), nullptr, false);
  if (!json.is_object()) throw DataError(tar.name_of(entry) + ": no JSON object");
  for (const char* key : {"label", "class", "cls"})
    if (notes.label.empty()) notes.label = field_of(json, key);
  notes.split = field_of(json, "split");
}

std::unordered_map<std::string, Notes> notes_in(const TarFile& tar) {
  std::unordered_map<std::string, Notes> all;
  for (std::size_t i = 0; i < tar.entries().size(); ++i) {
    const Key key = key_of(tar.entries()[i].name);
    if (key.ending == "cls") all[key.key].label = text_of(tar, i);
    if (key.ending == "json") read_json(tar, i, all[key.key]);
  }
  return all;
}

}  // namespace

bool names_tars(const fs::path& data) {
  return is_tar(data);
}

TableSource read_tar_source(const fs::path& pattern, const TableOptions& options) {
  // Paths begin at the folder above what varies, so that they stay as they are where the tars move.
  const std::string text = pattern.string();
  const fs::path root = fs::path(text.substr(0, text.find('{')) + "x").parent_path();
  std::error_code none;
  std::vector<TarFile> files;
  if (fs::exists(pattern, none))
    files.emplace_back(pattern);
  else
    for (const std::string& name : expand_braces(text)) files.emplace_back(name);
  TableSource source;
  CsvTable table{.columns = {"path", "label"}, .rows = {}, .lines = {}};
  std::vector<std::string> unlabelled;
  std::size_t with_split = 0;
  for (std::size_t f = 0; f < files.size(); ++f) {
    const TarFile& tar = files[f];
    const auto notes = notes_in(tar);
    const std::string by_name = options.names.meaning(tar.file().stem().string()).split;
    const std::string relative = tar.file().lexically_relative(root).string() + "/";
    for (std::size_t i = 0; i < tar.entries().size(); ++i) {
      const std::string& name = tar.entries()[i].name;
      if (!has_picture_ending(name)) continue;
      const auto note = notes.find(key_of(name).key);
      if (note == notes.end() || note->second.label.empty()) {
        unlabelled.push_back(tar.name_of(i));
        continue;
      }
      table.rows.push_back({relative + name, note->second.label});
      table.lines.push_back(std::ssize(table.rows));
      source.dataset.samples.push_back(
          {.relative = relative + name, .record = TarShards::record(f, i)});
      const std::string split =
          note->second.split.empty() ? by_name : canonical_split(note->second.split);
      with_split += split.empty() ? 0 : 1;
      source.splits.push_back(split);
    }
  }
  const std::size_t n = table.rows.size();
  if (!unlabelled.empty())
    throw DataError(
        fmt::format("{}: {} of {} pictures have no class, {} first: it stands in a .cls or "
                    ".json beside each",
                    text, unlabelled.size(), n + unlabelled.size(), readable(unlabelled.front())));
  if (n == 0) throw DataError(text + ": no pictures in it");
  if (with_split != 0 && with_split != n)
    throw DataError(
        fmt::format("{}: {} of {} pictures have a split, the others none", text, with_split, n));
  if (with_split == 0) source.splits.clear();
  for (const std::string& split : source.splits)
    if (split != "train" && split != "valid" && split != "test")
      throw DataError(
          fmt::format("{}: split '{}' is none of train, valid, test", text, readable(split)));
  source.split_column = "split";
  const std::vector<int> labels =
      table_labels(table, text, options.names, options.label_positive, {}, source.label_rule);
  for (std::size_t i = 0; i < n; ++i) source.dataset.samples[i].label = labels[i];
  source.dataset.root = root;
  source.dataset.split = "all";
  source.dataset.tars = std::make_shared<const TarShards>(std::move(files));
  return source;
}

}  // namespace dfengine
