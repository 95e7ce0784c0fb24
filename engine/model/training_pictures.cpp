#include "engine/model/training_pictures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "engine/data/digest.h"
#include "engine/data/pack.h"
#include "engine/data/sets/class_names.h"
#include "engine/data/sets/groups.h"
#include "engine/data/sets/table_columns.h"
#include "engine/data/sets/table_paths.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path written(const fs::path& path) {
  std::error_code error;
  const fs::path whole = fs::absolute(path, error);
  return in_one_form((error ? path : whole).string());
}

fs::path resolved(const fs::path& path) {
  std::error_code error;
  const fs::path out = fs::weakly_canonical(path, error);
  return error ? written(path) : out;
}

// A picture's path as it is written, and with links followed.
using Names = std::array<std::string, 2>;

// Follows the links of a folder once for all of its pictures.
class Naming {
 public:
  Names of(const fs::path& picture) {
    const fs::path whole = written(picture);
    const std::string& name = whole.string();
    std::error_code error;
    if (fs::is_symlink(whole, error)) return {name, resolved(whole).string()};
    const auto [folder, is_new] = folders_.try_emplace(whole.parent_path().string());
    if (is_new) folder->second = resolved(whole.parent_path());
    return {name, (folder->second / whole.filename()).string()};
  }

 private:
  std::unordered_map<std::string, fs::path> folders_;
};

class PictureSet {
 public:
  void add(const Dataset& dataset) {
    for (const Sample& sample : dataset.samples) add(dataset.path(sample));
  }
  void add(const fs::path& picture) {
    for (std::string& name : naming_.of(picture)) names_.insert(std::move(name));
  }
  bool has(const Names& picture) const {
    return names_.contains(picture[0]) || names_.contains(picture[1]);
  }

 private:
  Naming naming_;
  std::unordered_set<std::string> names_;
};

// "" for what is no text.
std::string text_at(const json& args, const char* key) try {
  const auto found = args.find(key);
  return found == args.end() ? "" : bytes_from_json(*found);
} catch (const json::exception&) {
  return "";
}

// Folders in which the places of arguments are looked for.
class Places {
 public:
  Places(const std::vector<Names>& pictures, const std::vector<fs::path>& near) {
    std::unordered_set<std::string> parents;
    for (const Names& names : pictures)
      for (const std::string& name : names)
        if (const auto parent = parents.insert(name.substr(0, name.rfind('/'))); parent.second)
          add(*parent.first);
    for (const fs::path& place : near)
      if (!place.empty())
        for (const fs::path& name : {written(place), resolved(place)}) add(name);
  }

  const std::set<fs::path>& folders() const { return folders_; }

  // A path of the arguments; empty where it had a digest and is not here.
  fs::path find(const json& args, const char* key) const {
    const fs::path name = text_at(args, key);
    const auto places = args.find("places");
    if (places == args.end() || !places->is_object() || !places->contains(key)) return name;
    const std::string digest = text_at(*places, key);
    for (const fs::path& folder : folders_)
      for (const fs::path& place : {folder, folder / name})
        if (place_digest(place) == digest) return place;
    return {};
  }

 private:
  void add(fs::path folder) {
    while (folders_.insert(folder).second) folder = folder.parent_path();
  }

  std::set<fs::path> folders_;
};

// A packed file tells names and a digest of the files that it was made of, and not where they lie.
void add_packed_files(const Dataset& train, const Places& places, PictureSet& pictures) {
  const PackIndex& index = train.pack->index();
  for (const fs::path& folder : places.folders()) {
    std::error_code error;
    if (!fs::exists(folder / train.samples.front().relative, error)) continue;
    std::vector<Dataset> splits = index.splits;
    for (Dataset& split : splits) split.root = folder;
    if (source_digest(splits) != index.digest) continue;
    return pictures.add(Dataset{folder, "", train.samples});
  }
}

// The training pictures as the run's reader gives them; nothing where it cannot do so here.
std::optional<PictureSet> ask_reader(const json& args, const fs::path& data, const fs::path& csv,
                                     const Places& places) try {
  DataOptions o = data_options_from_json(args);
  if (o.data.empty() != data.empty() || o.csv.empty() != csv.empty()) return std::nullopt;
  o.data = data;
  o.csv = csv;
  for (const auto& [key, place] :
       {std::pair{"valid_csv", &DataOptions::valid_csv}, {"test_csv", &DataOptions::test_csv}})
    if (const fs::path found = places.find(args, key); !found.empty()) o.*place = found;
  std::vector<std::string> held_out;
  if (const auto groups = args.find("hold_out_group"); groups != args.end())
    for (const json& group : *groups) held_out.push_back(bytes_from_json(group));
  const DataSource source = hold_out(open_data(o, {"train", "valid"}), held_out);
  const Dataset& train = source.splits.front();
  PictureSet pictures;
  pictures.add(train);
  if (train.pack) add_packed_files(train, places, pictures);
  return pictures;
} catch (const Error&) {
  return std::nullopt;
} catch (const json::exception&) {
  return std::nullopt;
}

// The name of one of the first three folders below `root` means "train".
bool in_training_folder(const fs::path& file, const fs::path& root) {
  constexpr int kDeepest = 3;
  const ClassNames names;
  int depth = 0;
  for (const fs::path& part : file.parent_path().lexically_relative(root)) {
    if (part == ".." || ++depth > kDeepest) return false;
    if (names.meaning(part.string()).split == "train") return true;
  }
  return false;
}

// The pictures of a training table, found as training found them; none where it is gone.
PictureSet pictures_of_table(const fs::path& csv, const json& args, const fs::path& data) try {
  const bool one_of_several =
      !text_at(args, "valid_csv").empty() || !text_at(args, "test_csv").empty();
  const CsvTable table = read_csv(csv);
  const std::size_t column =
      path_column(table, {.path = text_at(args, "path_column")}, csv.string());
  const Index split = split_column(table, csv.string());
  std::vector<std::string> paths;
  for (const std::vector<std::string>& row : table.rows) {
    if (split >= 0 && canonical_split(trimmed_field(row[at(split)])) != "train") continue;
    if (const auto path = trimmed_field(row[column]); !path.empty()) paths.emplace_back(path);
  }
  PictureSet pictures;
  if (paths.empty()) return pictures;  // of a table that was made anew
  const TablePaths placed = place_paths(std::move(paths), csv, data, one_of_several ? "train" : "");
  for (const std::string& path : placed.relative) pictures.add(placed.root / path);
  return pictures;
} catch (const DataError&) {
  return {};
}

std::function<bool(const Names&)> test_of(const json& args, const fs::path& data,
                                          const fs::path& csv, const Places& places) {
  std::optional<PictureSet> read = ask_reader(args, data, csv, places);
  const bool is_one_table = csv.empty() && is_table(data);
  if (!read && (is_one_table || !csv.empty()))
    read = pictures_of_table(is_one_table ? data : csv, args, is_one_table ? fs::path() : data);
  if (read) return [all = std::move(*read)](const Names& picture) { return all.has(picture); };
  return [roots = std::array{written(data), resolved(data)}](const Names& picture) {
    return in_training_folder(picture[0], roots[0]) || in_training_folder(picture[1], roots[1]);
  };
}

std::string describe(const json& args, const fs::path& set) {
  const auto shares = args.find("fractions");
  const auto seed = args.find("seed");
  if (shares == args.end() || !shares->is_array() || shares->empty() || seed == args.end())
    return set.string();
  std::vector<std::string> texts;
  for (const json& share : *shares)
    texts.push_back(share.is_number() ? fmt::format("{:g}", share.get<double>()) : "?");
  return fmt::format("{}, divided by {} with --seed {}", set.string(), fmt::join(texts, ","),
                     seed->is_number() ? seed->dump() : "?");
}

// The text of the arguments of every run that the notes tell of; this model's own come first.
std::vector<std::string> runs_of(const std::map<std::string, std::string>& notes) {
  std::vector<std::string> runs;
  const auto add = [&](const std::string& text) {
    if (json::parse(text, nullptr, false).is_object() && std::ranges::count(runs, text) == 0)
      runs.push_back(text);
  };
  if (const auto own = notes.find(kRunArguments); own != notes.end()) add(own->second);
  const auto earlier = notes.find(kEarlierArguments);
  if (earlier == notes.end()) return runs;
  const json list = json::parse(earlier->second, nullptr, false);
  if (list.is_array())
    for (const json& text : list)
      if (text.is_string()) add(text.get<std::string>());
  return runs;
}

}  // namespace

void note_earlier_runs(ModelMetadata& made, std::span<const Model> models) {
  std::set<std::string> all;
  for (const Model& model : models)
    for (std::string& run : runs_of(model.notes)) all.insert(std::move(run));
  if (!all.empty()) made.notes[kEarlierArguments] = json(all).dump();
}

SeenPictures seen_in_training(const std::map<std::string, std::string>& notes,
                              const std::vector<fs::path>& pictures,
                              const std::vector<fs::path>& near) {
  SeenPictures seen;
  const std::vector<std::string> runs = runs_of(notes);
  if (runs.empty()) return seen;
  Naming naming;
  std::vector<Names> unseen;
  for (const fs::path& picture : pictures) unseen.push_back(naming.of(picture));
  const Places places(unseen, near);
  for (const std::string& run : runs) {
    const json args = json::parse(run);
    const fs::path data = places.find(args, "data"), csv = places.find(args, "csv");
    if (data.empty() && csv.empty()) continue;
    const auto is_seen = test_of(args, data, csv, places);
    const std::size_t count =
        std::erase_if(unseen, [&](const Names& picture) { return is_seen(picture); });
    if (count > 0 && seen.count == 0) seen.set = describe(args, csv.empty() ? data : csv);
    seen.count += count;
  }
  return seen;
}

SeenPictures seen_in_training(const std::map<std::string, std::string>& notes,
                              const Dataset& pictures, const DataOptions& options) {
  std::vector<fs::path> paths;
  for (const Sample& sample : pictures.samples) paths.push_back(pictures.path(sample));
  return seen_in_training(notes, paths,
                          {options.data, options.csv, options.valid_csv, options.test_csv});
}

void refuse_training_pictures(const Model& model, const std::vector<fs::path>& pictures,
                              const std::string& name) {
  const SeenPictures seen = seen_in_training(model.notes, pictures, {name});
  if (seen.count > 0)
    throw UsageError(
        fmt::format("{}: the image model was trained on {} of its {} pictures ({}): its scores "
                    "there are better than on new ones. Use validation data",
                    name, seen.count, pictures.size(), seen.set));
}

}  // namespace dfengine
