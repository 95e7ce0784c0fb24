#include "engine/tables/metadata/training_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/data/digest.h"
#include "engine/data/sets/class_names.h"
#include "engine/data/sets/source.h"
#include "engine/data/sets/table_columns.h"
#include "engine/data/sets/table_paths.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

fs::path resolved(const fs::path& path) {
  std::error_code error;
  const fs::path out = fs::weakly_canonical(path, error);
  return error ? path.lexically_normal() : out;
}

// The name of one of the first three folders below `root` means "train".
bool in_training_folder(const fs::path& file, const fs::path& root) {
  constexpr int kDeepest = 3;
  const ClassNames names;
  int depth = 0;
  for (const fs::path& part : resolved(file).parent_path().lexically_relative(root)) {
    if (part == ".." || ++depth > kDeepest) return false;
    if (names.meaning(part.string()).split == "train") return true;
  }
  return false;
}

std::string text_at(const nlohmann::json& args, const char* key) {
  const auto found = args.find(key);
  if (found == args.end()) return "";
  const bool is_bytes =
      found->is_object() && found->contains("hex") && found->at("hex").is_string();
  return found->is_string() || is_bytes ? bytes_from_json(*found) : "";
}

// A path of the arguments. Of one that was absolute they have the name and a digest: it is looked
// for in and among the folders above the pictures, and empty where it is not there.
fs::path place_at(const nlohmann::json& args, const char* key,
                  const std::vector<fs::path>& pictures) {
  const fs::path name = text_at(args, key);
  const auto places = args.find("places");
  if (places == args.end() || !places->is_object() || !places->contains(key)) return name;
  const std::string digest = text_at(*places, key);
  std::set<fs::path> folders;
  for (const fs::path& picture : pictures)
    for (fs::path folder = resolved(picture).parent_path(); folders.insert(folder).second;)
      folder = folder.parent_path();
  for (const fs::path& folder : folders)
    for (const fs::path& place : {folder, folder / name})
      if (place_digest(place) == digest) return place;
  return {};
}

// The pictures of a training table, found as training found them; empty where it is gone.
std::set<fs::path> table_paths(const fs::path& csv, const nlohmann::json& args,
                               const fs::path& data) {
  const bool one_of_several =
      !text_at(args, "valid_csv").empty() || !text_at(args, "test_csv").empty();
  std::set<fs::path> pictures;
  try {
    const CsvTable table = read_csv(csv);
    const std::size_t column =
        path_column(table, {.path = text_at(args, "path_column")}, csv.string());
    const Index split = split_column(table, csv.string());
    std::vector<std::string> paths;
    for (const std::vector<std::string>& row : table.rows) {
      if (split >= 0 && canonical_split(trimmed_field(row[at(split)])) != "train") continue;
      if (const auto path = trimmed_field(row[column]); !path.empty()) paths.emplace_back(path);
    }
    if (paths.empty()) return pictures;  // of a table that was made anew
    const TablePaths placed =
        place_paths(std::move(paths), csv, data, one_of_several ? "train" : "");
    for (const std::string& path : placed.relative) pictures.insert(resolved(placed.root / path));
  } catch (const DataError&) {
  }
  return pictures;
}

}  // namespace

void refuse_training_pictures(const Model& model, const std::vector<fs::path>& pictures,
                              const std::string& name) {
  const auto note = model.notes.find("train_args");
  if (note == model.notes.end()) return;
  const nlohmann::json args = nlohmann::json::parse(note->second, nullptr, false);
  if (!args.is_object()) return;
  fs::path data = place_at(args, "data", pictures);
  fs::path csv = place_at(args, "csv", pictures);
  if (csv.empty() && is_table(data)) csv.swap(data);
  if (data.empty() && csv.empty()) return;
  std::function<bool(const fs::path&)> seen = [root = resolved(data)](const fs::path& p) {
    return in_training_folder(p, root);
  };
  if (!csv.empty())
    seen = [all = table_paths(csv, args, data)](const fs::path& p) {
      return all.contains(resolved(p));
    };
  const auto count = std::ranges::count_if(pictures, seen);
  if (count > 0)
    throw UsageError(
        fmt::format("{}: the image model was trained on {} of its {} pictures ({}): its scores "
                    "there are better "
                    "than on new ones. Use validation data",
                    name, count, pictures.size(), csv.empty() ? data.string() : csv.string()));
}

}  // namespace dfengine
