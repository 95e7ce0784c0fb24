#include "engine/tables/metadata/training_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/data/digest.h"
#include "engine/data/sets/table_columns.h"
#include "engine/tables/metadata/table_scores.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

fs::path resolved(const fs::path& path) {
  std::error_code error;
  const fs::path out = fs::weakly_canonical(path, error);
  return error ? path.lexically_normal() : out;
}

// One of the first three folders below `root` is "train".
bool in_training_folder(const fs::path& file, const fs::path& root) {
  constexpr int kDeepest = 3;
  int depth = 0;
  for (const fs::path& part : resolved(file).lexically_relative(root)) {
    if (part == ".." || ++depth > kDeepest) return false;
    if (part == "train") return true;
  }
  return false;
}

std::string text_at(const nlohmann::json& args, const char* key) {
  const auto found = args.find(key);
  return found != args.end() && found->is_string() ? found->get<std::string>() : std::string();
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

// The pictures of a training table; empty where it is gone.
std::set<fs::path> table_paths(const fs::path& csv, const ColumnNames& columns,
                               const fs::path& root) {
  std::set<fs::path> paths;
  try {
    CsvTable table = read_csv(csv);
    name_columns(table, columns, csv.string());
    const Dataset pictures = table_pictures(table, root, csv.string());
    for (const Sample& s : pictures.samples) paths.insert(resolved(pictures.path(s)));
  } catch (const DataError&) {
  }
  return paths;
}

}  // namespace

void refuse_training_pictures(const Model& model, const std::vector<fs::path>& pictures,
                              const std::string& name) {
  const auto note = model.notes.find("train_args");
  if (note == model.notes.end()) return;
  const nlohmann::json args = nlohmann::json::parse(note->second, nullptr, false);
  if (!args.is_object()) return;
  const fs::path data = place_at(args, "data", pictures);
  const fs::path csv = place_at(args, "csv", pictures);
  if (data.empty() && csv.empty()) return;
  std::function<bool(const fs::path&)> seen = [root = resolved(data)](const fs::path& p) {
    return in_training_folder(p, root);
  };
  if (!csv.empty())
    seen = [all = table_paths(csv, {.path = text_at(args, "path_column")},
                              data.empty() ? csv.parent_path() : data)](const fs::path& p) {
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
