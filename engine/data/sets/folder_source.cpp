#include "engine/data/sets/folder_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

// "found: a, b, c", for errors.
std::string contents(const fs::path& dir) {
  constexpr std::size_t kMost = 12;
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    std::error_code ignored;
    names.push_back(entry.path().filename().string() + (entry.is_directory(ignored) ? "/" : ""));
  }
  if (error) return "it cannot be listed: " + error.message();
  if (names.empty()) return "found: nothing";
  std::sort(names.begin(), names.end());
  if (names.size() <= kMost) return fmt::format("found: {}", fmt::join(names, ", "));
  const std::size_t more = names.size() - kMost;
  names.resize(kMost);
  return fmt::format("found: {} and {} more", fmt::join(names, ", "), more);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

void require_folder(const fs::path& dir) {
  if (is_folder(dir)) return;
  std::error_code ignored;
  throw DataError(fmt::format("data folder {} {}", dir.string(),
                              fs::exists(dir, ignored) ? "is not a folder" : "does not exist"));
}

// Folders directly in dir, sorted. Throws DataError when dir cannot be listed.
std::vector<fs::path> folders_in(const fs::path& dir) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) folders.push_back(it->path());
  }
  if (error) throw DataError(fmt::format("cannot list {}: {}", dir.string(), error.message()));
  std::sort(folders.begin(), folders.end());
  return folders;
}

// Names under which a split may be filed.
std::vector<std::string> split_names(const std::string& split) {
  const std::vector<std::string> valid = {"valid", "val", "validation"};
  if (std::ranges::find(valid, split) == valid.end()) return {split};
  std::vector<std::string> names = {split};
  std::ranges::copy_if(valid, std::back_inserter(names), [&](auto& n) { return n != split; });
  return names;
}

fs::path find_split(const fs::path& dir, const std::string& split) {
  require_folder(dir);
  const std::vector<std::string> names = split_names(split);
  for (const std::string& name : names) {
    if (is_folder(dir / name)) return dir / name;
  }
  throw DataError(fmt::format("{} has no folder {}/; {}", dir.string(), fmt::join(names, "/ or "),
                              contents(dir)));
}

// Folders in dir that bear a name of the class.
std::vector<fs::path> class_folders(const fs::path& dir, int label, const ClassNames& names) {
  std::vector<fs::path> found = folders_in(dir);
  std::erase_if(found, [&](const fs::path& folder) {
    return names.label_of(folder.filename().string()) != label;
  });
  return found;
}

bool has_classes(const fs::path& dir, const ClassNames& names) {
  return !class_folders(dir, 0, names).empty() && !class_folders(dir, 1, names).empty();
}

// Gathers the pictures of one split. Real folders come before links to folders, so that a link to a
// folder that is there anyway is the one set aside.
class Lister {
 public:
  // `above`: the folder of the classes, to which a link would lead in a circle.
  Lister(Dataset& dataset, const fs::path& above) : dataset_(dataset) { is_new(above); }

  void add(const fs::path& folder, int label) { list(folder, label); }

  void follow_links() {
    while (!links_.empty()) {
      const auto [link, label] = *links_.begin();
      links_.erase(links_.begin());
      list(link, label);
    }
  }

 private:
  std::string relative(const fs::path& path) const {
    return path.lexically_relative(dataset_.root).generic_string();
  }

  bool is_new(const fs::path& folder) {
    struct stat info;
    return stat(folder.c_str(), &info) != 0 || seen_.insert({info.st_dev, info.st_ino}).second;
  }

  void set_aside(const fs::path& path, const std::string& reason) {
    dataset_.unlisted.push_back({dataset_.split, relative(path), reason});
  }

  void list(const fs::path& folder, int label) {
    if (!is_new(folder)) {
      set_aside(folder, "a link to a folder that is listed already");
      return;
    }
    const std::string prefix = relative(folder) + "/";
    std::vector<fs::path> inside;
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      take(*it, prefix, label, inside);
    }
    if (error) set_aside(folder, "the folder cannot be listed: " + error.message());
    std::sort(inside.begin(), inside.end());
    for (const fs::path& next : inside) list(next, label);
  }

  void take(const fs::directory_entry& entry, const std::string& prefix, int label,
            std::vector<fs::path>& inside) {
    std::error_code error, ignored;
    if (entry.is_directory(error)) {
      if (entry.is_symlink(ignored)) {
        links_.emplace(entry.path(), label);
      } else {
        inside.push_back(entry.path());
      }
    } else if (is_picture(entry.path())) {
      // Whatever else it is, reading it will tell.
      dataset_.samples.push_back({prefix + entry.path().filename().string(), label});
    } else if (error) {
      set_aside(entry.path(), error.message());
    }
  }

  Dataset& dataset_;
  std::set<std::pair<dev_t, ino_t>> seen_;
  std::map<fs::path, int> links_;  // and the label of their class
};

fs::path class_folder(const fs::path& dir, int label, const ClassNames& names) {
  const std::vector<fs::path> folders = class_folders(dir, label, names);
  if (folders.size() == 1) return folders.front();
  throw DataError(fmt::format(
      "{} has {} folder {}/ (it needs {}/ and {}/, or --classes REAL,FAKE); {}", dir.string(),
      folders.empty() ? "no" : "more than one", fmt::join(names.of(label), "/ or "),
      names.of(0).front(), names.of(1).front(), contents(dir)));
}

Dataset scan(Dataset dataset, const fs::path& folder, const ClassNames& names) {
  Lister lister(dataset, folder);
  const fs::path classes[] = {class_folder(folder, 0, names), class_folder(folder, 1, names)};
  for (int label : {0, 1}) lister.add(classes[label], label);
  lister.follow_links();
  for (int label : {0, 1}) {
    if (dataset.count(label) > 0) continue;
    throw DataError(fmt::format("{} holds no picture (jpg jpeg png bmp); {}",
                                classes[label].string(), contents(classes[label])));
  }
  const auto by_path = [](const auto& a, const auto& b) { return a.relative < b.relative; };
  std::sort(dataset.samples.begin(), dataset.samples.end(), by_path);
  std::sort(dataset.unlisted.begin(), dataset.unlisted.end(), by_path);
  dataset.samples.shrink_to_fit();
  return dataset;
}

}  // namespace

std::vector<std::string> splits_in(const fs::path& dir) {
  std::vector<std::string> found;
  for (const char* split : {"train", "valid", "test"}) {
    const std::vector<std::string> names = split_names(split);
    if (std::ranges::any_of(names, [&](auto& name) { return is_folder(dir / name); })) {
      found.push_back(split);
    }
  }
  return found;
}

std::optional<FolderTree> find_tree(const fs::path& dir, const ClassNames& names,
                                    const std::string& split) {
  require_folder(dir);
  std::vector<fs::path> level = {dir};
  for (int depth = 0; depth <= 2; ++depth) {
    std::vector<FolderTree> found;
    for (const fs::path& folder : level) {
      if (!splits_in(folder).empty() || (!split.empty() && is_folder(folder / split))) {
        found.push_back({folder, true});
      } else if (has_classes(folder, names)) {
        found.push_back({folder, false});
      }
    }
    if (found.size() > 1) {
      throw DataError(fmt::format("{} holds several sets, such as {} and {}: name one of them",
                                  dir.string(), found[0].root.string(), found[1].root.string()));
    }
    if (found.size() == 1) return found.front();
    std::vector<fs::path> deeper;
    for (const fs::path& folder : level) {
      for (fs::path& next : folders_in(folder)) deeper.push_back(std::move(next));
    }
    level = std::move(deeper);
  }
  return std::nullopt;
}

Dataset scan_split(const fs::path& dir, std::string_view split, const ClassNames& names) {
  Dataset dataset{dir, std::string(split), {}, {}};
  const fs::path folder = find_split(dir, dataset.split);
  return scan(std::move(dataset), folder, names);
}

Dataset scan_classes(const fs::path& dir, const ClassNames& names) {
  require_folder(dir);
  return scan({dir, "all", {}, {}}, dir, names);
}

}  // namespace dfengine
