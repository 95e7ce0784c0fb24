#include "engine/data/sets/table_paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "engine/data/sets/class_names.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;
using Paths = std::vector<std::string>;

// Folders one and two levels below root.
std::vector<fs::path> folders_below(const fs::path& root) {
  std::vector<fs::path> folders = {root};
  for (std::size_t first = 0, depth = 0; depth < 2; ++depth) {
    const std::size_t end = folders.size();
    std::vector<fs::path> next;
    for (; first < end; ++first) {
      std::error_code error, ignored;
      for (fs::directory_iterator it(folders[first], error), stop; !error && it != stop;
           it.increment(error)) {
        if (it->is_directory(ignored)) next.push_back(it->path());
      }
    }
    std::sort(next.begin(), next.end());
    folders.insert(folders.end(), next.begin(), next.end());
  }
  folders.erase(folders.begin());
  return folders;
}

// How the paths of a table are read.
struct PathRule {
  bool windows = false;  // C:\\faces\\a.jpg
  bool shortened = false;
  std::size_t folders = 0;  // so many first ones are left out of a shortened path

  std::string read(std::string path) const {
    if (windows) {
      std::ranges::replace(path, '\\', '/');
      if (path.size() > 1 && path[1] == ':') path.erase(0, 2);
    }
    if (!shortened) return path;
    path.erase(0, path.find_first_not_of('/'));
    for (std::size_t i = 0; i < folders; ++i) path.erase(0, path.find('/') + 1);
    return path;
  }
  std::string describe() const {
    return (windows ? ", paths of Windows" : "") +
           (folders > 0 ? fmt::format(", paths without their first {} folders", folders) : "");
  }
};

// A folder at which paths may begin.
struct Root {
  fs::path folder;
  std::size_t held = 0;  // so many of the rows that were looked for
};

std::string names_of(const std::vector<Root>& roots) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(roots.size(), kShown); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ", ", roots[i].folder.string());
  return text + (roots.size() > kShown ? ", ..." : "");
}

// Finds where the paths begin and how they are to be read, by the files of some rows.
class PathFinder {
 public:
  PathFinder(const Paths& paths, const fs::path& file, const fs::path& wanted, std::string split)
      : paths_(paths), file_(file), split_(std::move(split)) {
    starts_ = {file.has_parent_path() ? file.parent_path() : fs::path(".")};
    if (!wanted.empty()) starts_.insert(starts_.begin(), wanted);
  }

  std::optional<fs::path> find(PathRule& rule) const {
    for (rule = {}; true; rule.windows = true) {
      for (const fs::path& start : starts_)
        if (auto root = at_or_below(start, rule)) return root;
      if (rule.windows || !has_backslash()) break;
    }
    for (rule = {.shortened = true}; true; rule.windows = true) {
      for (rule.folders = 0; rule.folders < least_folders(rule); ++rule.folders)
        for (const fs::path& start : starts_)
          if (held(start, rule, kFew) == tried() && stays_distinct(rule)) return start;
      if (rule.windows || !has_backslash()) return std::nullopt;
    }
  }

  std::size_t tried() const { return std::min(paths_.size(), kFew); }
  const fs::path& start() const { return starts_.front(); }

 private:
  static constexpr std::size_t kFew = 16, kMany = 1024;

  bool has_backslash() const {
    return std::ranges::any_of(
        paths_, [](const std::string& path) { return path.find('\\') != std::string::npos; });
  }

  // How many of so many rows, spread over the table, are files there.
  std::size_t held(const fs::path& root, const PathRule& rule, std::size_t rows) const {
    const std::size_t n = std::min(paths_.size(), rows);
    std::size_t found = 0;
    for (std::size_t i = 0; i < n; ++i) {
      std::error_code ignored;
      found += fs::exists(root / rule.read(paths_[i * paths_.size() / n]), ignored);
    }
    return found;
  }

  std::optional<fs::path> at_or_below(const fs::path& start, const PathRule& rule) const {
    std::vector<Root> roots = {{start, held(start, rule, kFew)}};
    if (roots[0].held == tried()) return start;
    for (fs::path& folder : folders_below(start)) {
      const std::size_t count = held(folder, rule, kFew);
      roots.push_back({std::move(folder), count});
    }
    std::erase_if(roots, [](const Root& root) { return root.held == 0; });
    drop_links(roots);
    if (roots.empty()) return std::nullopt;
    const bool at_start = roots[0].folder == start;
    if (at_start && roots[0].held == std::ranges::max(roots, {}, &Root::held).held) return start;
    return best_of(std::move(roots), start, rule);
  }

  // One folder may have several names.
  static void drop_links(std::vector<Root>& roots) {
    std::vector<fs::path> seen;
    std::erase_if(roots, [&](const Root& root) {
      std::error_code error;
      const fs::path place = fs::weakly_canonical(root.folder, error);
      if (std::ranges::find(seen, place) != seen.end()) return true;
      seen.push_back(place);
      return false;
    });
  }

  fs::path best_of(std::vector<Root> roots, const fs::path& start, const PathRule& rule) const {
    if (roots.size() == 1) return roots[0].folder;
    for (Root& root : roots) root.held = held(root.folder, rule, kMany);
    const std::size_t most = std::ranges::max(roots, {}, &Root::held).held;
    const auto is_named = [&](const Root& root) {
      return 2 * root.held >= most && names_split(root.folder.lexically_relative(start));
    };
    const bool by_name = std::ranges::any_of(roots, is_named);
    std::erase_if(roots, [&](const Root& root) { return by_name && !is_named(root); });
    const std::size_t best = std::ranges::max(roots, {}, &Root::held).held;
    std::erase_if(roots, [&](const Root& root) { return root.held < best; });
    if (roots.size() == 1) return roots[0].folder;
    throw DataError(fmt::format(
        "{}: its files, such as {}, lie in several folders: {}; say in which the paths begin "
        "(--data), or put the folder before each path",
        file_.string(), paths_.front(), names_of(roots)));
  }

  bool names_split(const fs::path& below) const {
    return std::ranges::any_of(below, [&](const fs::path& name) {
      return !split_.empty() && canonical_split(name.string()) == split_;
    });
  }

  // Of the path that has fewest.
  std::size_t least_folders(const PathRule& rule) const {
    std::size_t least = std::string::npos;
    const PathRule whole = {.windows = rule.windows, .shortened = true};
    for (const std::string& given : paths_) {
      const std::string path = whole.read(given);
      least = std::min(least, static_cast<std::size_t>(std::ranges::count(path, '/')) + 1);
    }
    return least;
  }

  bool stays_distinct(const PathRule& rule) const {
    std::map<std::string, std::string> whole;
    return std::ranges::all_of(paths_, [&](const std::string& path) {
      return whole.try_emplace(rule.read(path), path).first->second == path;
    });
  }

  const Paths& paths_;
  const fs::path& file_;
  const std::string split_;
  std::vector<fs::path> starts_;
};

// The split that the table's own name means, else the given one.
std::string split_of(const fs::path& file, const std::string& split) {
  const std::string name = canonical_split(file.stem().string());
  return name == "train" || name == "valid" || name == "test" ? name : split;
}

}  // namespace

std::string in_one_form(const std::string& path) {
  // Most are so, and taking one to pieces is slow.
  const bool is_so =
      !path.starts_with("./") && path.find("/.") == path.npos && path.find("//") == path.npos;
  return is_so ? path : fs::path(path).lexically_normal().string();
}

TablePaths place_paths(Paths paths, const fs::path& file, const fs::path& wanted,
                       const std::string& split) {
  PathRule rule;
  const PathFinder finder(paths, file, wanted, split_of(file, split));
  const std::optional<fs::path> root = finder.find(rule);
  if (!root)
    throw DataError(fmt::format(
        "{}: none of {} of its files, such as {}, lies under {}; say where the paths begin "
        "(--data) or which column holds them (--path-column)",
        file.string(), finder.tried(), paths.front(), finder.start().string()));
  for (std::string& path : paths) path = rule.read(std::move(path));
  return {*root, std::move(paths),
          fmt::format("{}, paths begin at {}", rule.describe(), root->string())};
}

}  // namespace dfengine
