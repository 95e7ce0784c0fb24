#include "engine/data/sets/tar_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "engine/data/pictures/formats/picture_format.h"
#include "engine/data/sets/listing.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"
#include "kernels/base/numbers.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

// What the notes beside a picture say of it.
struct Notes {
  std::string label, json_label, split;
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

// Text or a number; "" where there is neither. A nested value may be so deep that the library,
// which writes it by recursion, does not come back.
std::string field_of(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null() || found->is_structured()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

void read_json(const TarFile& tar, std::size_t entry, Notes& notes) {
  const nlohmann::json json = nlohmann::json::parse(text_of(tar, entry), nullptr, false);
  if (!json.is_object()) throw DataError(tar.name_of(entry) + ": no JSON object");
  for (const char* key : {"label", "class", "cls"})
    if (notes.json_label.empty()) notes.json_label = field_of(json, key);
  notes.split = field_of(json, "split");
}

// The label of a .cls goes before that of a .json, which may number other classes.
const std::string& label_of(const Notes& notes) {
  return notes.label.empty() ? notes.json_label : notes.label;
}

// Both are names of classes, or both are 0 or 1, and they differ.
bool contradict(const Notes& notes, const ClassNames& names) {
  const auto number = [](const std::string& text) {
    if (text == "true") return 1.0;
    if (text == "false") return 0.0;
    return number_of<double>(text).value_or(-1);
  };
  const int a = names.label_of(notes.label), b = names.label_of(notes.json_label);
  if (a >= 0 && b >= 0) return a != b;
  const double x = number(notes.label), y = number(notes.json_label);
  return (x == 0 && y == 1) || (x == 1 && y == 0);
}

std::unordered_map<std::string, Notes> notes_in(const TarFile& tar, const ClassNames& names) {
  std::unordered_map<std::string, Notes> all;
  for (std::size_t i = 0; i < tar.entries().size(); ++i) {
    const std::string& name = tar.entries()[i].name;
    const Key key = key_of(name);
    if ((key.ending != "cls" && key.ending != "json") || !leftover_kind_in(name).empty()) continue;
    Notes& notes = all[key.key];
    if (key.ending == "cls")
      notes.label = text_of(tar, i);
    else
      read_json(tar, i, notes);
    if (contradict(notes, names))
      throw DataError(fmt::format("{}: the .cls of this picture says '{}', its .json '{}'",
                                  tar.name_of(i), readable(notes.label),
                                  readable(notes.json_label)));
  }
  return all;
}

// In the folder itself, by name.
std::vector<fs::path> files_in(const fs::path& folder, bool (*wanted)(const fs::path&)) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const fs::path& file = it->path();
    if (wanted(file) && leftover_kind(file.filename().string()).empty() &&
        !it->is_directory(ignored))
      files.push_back(file);
  }
  std::ranges::sort(files);
  return files;
}

struct Shards {
  fs::path root;  // where paths begin: above what varies, so that they stay where the tars move
  std::vector<TarFile> files = {};
};

Shards open_tars(const fs::path& data) {
  std::error_code none;
  const std::string text = data.string();
  if (fs::is_directory(data, none)) {
    Shards shards{data};
    for (fs::path& file : files_in(data, is_tar)) shards.files.emplace_back(std::move(file));
    return shards;
  }
  Shards shards{fs::path(text.substr(0, text.find('{')) + "x").parent_path()};
  if (fs::exists(data, none))
    shards.files.emplace_back(data);
  else
    for (const std::string& name : expand_braces(text)) shards.files.emplace_back(name);
  return shards;
}

// The pictures of all tars as a table, whose rows answer to the samples.
struct Rows {
  CsvTable table{.columns = {"path", "label"}, .rows = {}, .lines = {}};
  std::vector<std::string> unlabelled;
  std::size_t with_split = 0;

  void take(const TarFile& tar, std::size_t number, const std::string& folder,
            const ClassNames& names, TableSource& source) {
    const auto notes = notes_in(tar, names);
    const std::string by_name = names.meaning(tar.file().stem().string()).split;
    for (const std::size_t i : pictures_in(tar, source.passed_over)) {
      const std::string& name = tar.entries()[i].name;
      const auto note = notes.find(key_of(name).key);
      if (note == notes.end() || label_of(note->second).empty()) {
        unlabelled.push_back(tar.name_of(i));
        continue;
      }
      table.rows.push_back({folder + name, label_of(note->second)});
      table.lines.push_back(std::ssize(table.rows));
      source.dataset.samples.push_back(
          {.relative = folder + name, .record = TarShards::record(number, i)});
      const std::string& split = note->second.split;
      source.splits.push_back(split.empty() ? by_name : canonical_split(split));
      with_split += source.splits.back().empty() ? 0 : 1;
    }
  }
};

}  // namespace

bool names_tars(const fs::path& data) {
  std::error_code none;
  return !fs::is_directory(data, none) && std::ranges::all_of(expand_braces(data.string()), is_tar);
}

bool holds_tars(const fs::path& folder) {
  return files_in(folder, has_picture_ending).empty() && !files_in(folder, is_tar).empty();
}

std::vector<std::size_t> pictures_in(const TarFile& tar, PassedOver& passed_over) {
  std::vector<std::size_t> pictures;
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < tar.entries().size(); ++i) {
    const std::string& name = tar.entries()[i].name;
    const std::string leftover = leftover_kind_in(name), kind = other_kind(name);
    if (!leftover.empty()) {
      ++passed_over[leftover];
    } else if (has_picture_ending(name)) {
      pictures.push_back(i);
    } else if (kind != ".cls" && kind != ".json") {
      tar.read_first(i, kFormatBytes, bytes);
      if (file_format(bytes).kind != FileFormat::Kind::Other)
        pictures.push_back(i);
      else
        ++passed_over[kind];
    }
  }
  if (tar.others() > 0) passed_over["links and devices"] += tar.others();
  return pictures;
}

TableSource read_tar_source(const fs::path& data, const TableOptions& options) {
  const std::string text = data.string();
  auto [root, files] = open_tars(data);
  TableSource source;
  Rows rows;
  for (std::size_t f = 0; f < files.size(); ++f)
    rows.take(files[f], f, files[f].file().lexically_relative(root).string() + "/", options.names,
              source);
  const auto& [table, unlabelled, with_split] = rows;
  const std::size_t n = table.rows.size();
  if (!unlabelled.empty())
    throw DataError(
        fmt::format("{}: {} of {} pictures have no class, {} first: it stands in a .cls or, "
                    "as text or a number, in a .json beside each",
                    text, unlabelled.size(), n + unlabelled.size(), readable(unlabelled.front())));
  if (n == 0) {
    const std::string others = describe(source.passed_over);
    throw DataError(text + ": no pictures in it" + (others.empty() ? "" : "; " + others));
  }
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
