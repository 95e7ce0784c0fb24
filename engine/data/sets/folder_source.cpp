#include "engine/data/sets/folder_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "engine/data/sets/folder_meaning.h"
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

void require_folder(const fs::path& dir) {
  std::error_code ignored;
  if (fs::is_directory(dir, ignored)) return;
  throw DataError(
      fmt::format("data folder {} {}", dir.string(),
                  fs::exists(dir, ignored)
                      ? "is not a folder; tables end in .csv or .tsv, packed files in .dfpack"
                      : "does not exist"));
}

// Folders directly in dir, sorted, without leftovers. Throws DataError when dir cannot be listed.
std::vector<fs::path> folders_in(const fs::path& dir) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const bool leftover = !leftover_kind(it->path().filename().string()).empty();
    if (!leftover && it->is_directory(ignored)) folders.push_back(it->path());
  }
  if (error) throw DataError(fmt::format("cannot list {}: {}", dir.string(), error.message()));
  std::sort(folders.begin(), folders.end());
  return folders;
}

// Where a set begins.
struct Place {
  fs::path folder;
  bool has_splits = false;
};

// Gives nothing for a folder that is the place of no set.
std::optional<Place> place_of(const fs::path& folder, const FolderMeanings& meanings) {
  bool real = false, fake = false, split = false;
  for (const fs::path& inside : folders_in(folder)) {
    const NameMeaning m = meanings.of(inside);
    real |= m.label == 0;
    fake |= m.label == 1;
    split |= m.label < 0 && !m.split.empty();
  }
  if (!split && !(real && fake)) return std::nullopt;
  return Place{folder, split};
}

// Those of the level nearest to dir and, where they have no splits, of the levels below it.
std::vector<Place> find_places(const fs::path& dir, const FolderMeanings& meanings) {
  constexpr int kDeepest = 2;
  std::vector<Place> found;
  std::vector<fs::path> level = {dir};
  for (int depth = 0; depth <= kDeepest && !level.empty(); ++depth) {
    const bool first = found.empty();
    std::vector<fs::path> deeper;
    for (const fs::path& folder : level) {
      const std::optional<Place> place = place_of(folder, meanings);
      if (place && (first || !place->has_splits)) found.push_back(*place);
      if (!place)
        for (fs::path& next : folders_in(folder)) deeper.push_back(std::move(next));
    }
    if (std::ranges::any_of(found, &Place::has_splits)) break;
    level = std::move(deeper);
  }
  return found;
}

}  // namespace

// Walks through a set's folders and files what it finds. Real folders come before links to folders,
// so that a link to a folder that is there anyway is the one set aside.
class FolderSurvey {
 public:
  FolderSurvey(FolderSet& set, const FolderMeanings& meanings) : set_(set), meanings_(meanings) {}

  void run() {
    part("").folder = set_.root_;
    walk({set_.root_, -1, "", "", 0});
    while (!links_.empty()) walk(links_.extract(links_.begin()).value());
    if (split_inside_class_ && !every_split_is_whole()) join_parts();
    const std::string shape =
        shapes_.empty() ? "CLASS" : fmt::format("{}", fmt::join(shapes_, " and "));
    set_.layout_ = fmt::format("folders {}/{}", set_.root_.string(), shape);
  }

 private:
  struct Step {
    fs::path folder;
    int label;
    std::string split;
    std::string shape;  // of the way here: SPLIT/CATEGORY
    int categories;     // on it

    bool operator<(const Step& other) const { return folder < other.folder; }
  };

  std::string relative(const fs::path& path) const {
    return path.lexically_relative(set_.root_).generic_string();
  }

  FolderSet::Part& part(const std::string& split) {
    const auto [at, is_new] = set_.parts_.try_emplace(split);
    if (is_new) at->second.dataset = {set_.root_, split, {}, {}};
    return at->second;
  }

  void set_aside(const Step& step, const fs::path& path, const std::string& reason) {
    part(step.split).dataset.unlisted.push_back({step.split, relative(path), reason});
  }

  // In each split once.
  bool is_new(const Step& step) {
    struct stat info;
    if (stat(step.folder.c_str(), &info) != 0) return true;
    return seen_.emplace(step.split, info.st_dev, info.st_ino).second;
  }

  void walk(const Step& step) {
    if (!is_new(step)) {
      if (step.label >= 0)
        set_aside(step, step.folder, "a link to a folder that is listed already");
      return;
    }
    const std::string prefix = step.folder == set_.root_ ? "" : relative(step.folder) + "/";
    std::vector<fs::directory_entry> folders;
    std::error_code error;
    for (fs::directory_iterator it(step.folder, error), end; !error && it != end;
         it.increment(error))
      take(*it, step, prefix, folders);
    if (error) set_aside(step, step.folder, "the folder cannot be listed: " + error.message());
    std::vector<Step> inside;
    for (const fs::directory_entry& folder : to_follow(step, folders)) {
      std::error_code ignored;
      if (folder.is_symlink(ignored))
        links_.insert(below(folder.path(), step));
      else
        inside.push_back(below(folder.path(), step));
    }
    for (const Step& next : inside) walk(next);
  }

  void take(const fs::directory_entry& entry, const Step& step, const std::string& prefix,
            std::vector<fs::directory_entry>& folders) {
    const std::string name = entry.path().filename().string();
    std::error_code error;
    const bool folder = entry.is_directory(error);
    if (const std::string kind = leftover_kind(name); !kind.empty()) {
      ++set_.passed_over_[folder ? kind + "/" : kind];
    } else if (folder) {
      folders.push_back(entry);
    } else if (step.label < 0) {
      if (is_picture(entry.path())) ++set_.passed_over_["pictures in no folder of a class"];
    } else if (is_picture(entry.path())) {
      // Whatever else it is, reading it will tell.
      part(step.split).dataset.samples.push_back({prefix + name, step.label});
      shapes_.insert(step.shape);
    } else if (error) {
      set_aside(step, entry.path(), error.message());
    } else {
      ++set_.passed_over_[other_kind(entry.path())];
    }
  }

  // Whether the folder's name says more than is known there.
  bool says_more(const fs::path& folder, const Step& step) const {
    const NameMeaning m = meanings_.of(folder);
    return (step.label < 0 && m.label >= 0) || (step.split.empty() && !m.split.empty());
  }

  // Those of a folder's folders, sorted, that belong to the set: beside splits and classes others
  // do not, and categories of categories come to an end.
  std::vector<fs::directory_entry> to_follow(const Step& step,
                                             std::vector<fs::directory_entry>& folders) {
    constexpr int kMostCategories = 4;
    std::sort(folders.begin(), folders.end());
    if (step.label >= 0) return folders;
    look_for_doubles(step, folders);
    const auto more = [&](const fs::directory_entry& f) { return says_more(f.path(), step); };
    if (!std::ranges::any_of(folders, more) && step.categories < kMostCategories) return folders;
    const std::size_t others = std::erase_if(folders, [&](const auto& f) { return !more(f); });
    if (others > 0) set_.passed_over_["other folders"] += static_cast<Index>(others);
    return folders;
  }

  Step below(const fs::path& folder, const Step& step) {
    const NameMeaning m = meanings_.of(folder);
    Step next{folder, step.label, step.split, step.shape, step.categories};
    const bool splits = step.split.empty() && !m.split.empty();
    const bool labels = step.label < 0 && m.label >= 0;
    if (splits) next.split = m.split;
    if (labels) next.label = m.label;
    FolderSet::Part& place = part(next.split);
    if (step.label >= 0 && m.label >= 0 && m.label != step.label)
      place.fault = fmt::format(
          "{} lies in a folder of the other class by its name; say which folders are the classes: "
          "--classes REAL,FAKE",
          folder.string());
    if (splits || labels || step.label < 0) {
      const char* both = splits && labels ? "SPLIT_CLASS" : splits ? "SPLIT" : "CLASS";
      next.shape +=
          (step.shape.empty() ? "" : "/") + std::string(splits || labels ? both : "CATEGORY");
      next.categories += splits || labels ? 0 : 1;
    }
    split_inside_class_ |= splits && step.label >= 0;
    if (splits && next.label < 0) place.folder = folder;
    if (labels || (splits && next.label >= 0)) {
      if (place.folder.empty()) place.folder = step.folder;
      place.classes.try_emplace(next.label, folder);
    }
    return next;
  }

  // Of two folders of one meaning in one folder nobody can say which is meant.
  void look_for_doubles(const Step& step, const std::vector<fs::directory_entry>& folders) {
    std::map<std::pair<std::string, int>, std::string> first;
    for (const fs::directory_entry& folder : folders) {
      if (!says_more(folder.path(), step)) continue;
      const NameMeaning m = meanings_.of(folder.path());
      const std::string name = folder.path().filename().string();
      const std::string split = step.split.empty() ? m.split : step.split;
      const auto [at, is_new] = first.try_emplace({split, m.label}, name);
      if (is_new) continue;
      const bool labels = m.label >= 0;
      part(split).fault =
          fmt::format("{} has more than one folder of {}: {}/ and {}/; {}", step.folder.string(),
                      labels ? "class " + meanings_.example(m.label) : "split " + split, at->second,
                      name, labels ? "say which it is: --classes REAL,FAKE" : "rename one of them");
    }
  }

  // Splits inside of classes may be names that mean nothing here, such as real/train2017.
  bool every_split_is_whole() const {
    return std::ranges::all_of(set_.parts_, [](const auto& entry) {
      const auto& [split, found] = entry;
      const Index real = found.dataset.count(0), fake = found.dataset.count(1);
      return split.empty() ? real + fake == 0 : real > 0 && fake > 0;
    });
  }

  void join_parts() {
    FolderSet::Part all = std::move(part(""));
    set_.parts_.erase("");
    for (auto& [split, other] : set_.parts_) {
      auto& samples = other.dataset.samples;
      all.dataset.samples.insert(all.dataset.samples.end(), samples.begin(), samples.end());
      for (BadFile& bad : other.dataset.unlisted)
        all.dataset.unlisted.push_back({"", bad.relative, bad.reason});
      all.classes.merge(other.classes);
    }
    set_.parts_.clear();
    set_.parts_.emplace("", std::move(all));
  }

  FolderSet& set_;
  const FolderMeanings& meanings_;
  std::set<std::tuple<std::string, dev_t, ino_t>> seen_;
  std::set<Step> links_;
  std::set<std::string> shapes_;
  bool split_inside_class_ = false;
};

std::optional<FolderSet> FolderSet::find(const fs::path& dir, const ClassNames& names,
                                         const std::string& split) {
  require_folder(dir);
  const FolderMeanings meanings(names, split);
  const std::vector<Place> places = find_places(dir, meanings);
  if (places.empty()) return std::nullopt;
  const bool has_splits = std::ranges::any_of(places, &Place::has_splits);
  if (places.size() > 1 && has_splits) {
    throw DataError(fmt::format("{} holds several sets, such as {} and {}: name one of them",
                                dir.string(), places[0].folder.string(),
                                places[1].folder.string()));
  }
  FolderSet set;
  set.names_ = names;
  set.root_ = places.size() == 1 ? places.front().folder : dir;
  FolderSurvey(set, meanings).run();
  set.name_splits(has_splits, canonical_split(split));
  for (auto& [name, part] : set.parts_) {
    const auto by_path = [](const auto& a, const auto& b) { return a.relative < b.relative; };
    std::sort(part.dataset.samples.begin(), part.dataset.samples.end(), by_path);
    std::sort(part.dataset.unlisted.begin(), part.dataset.unlisted.end(), by_path);
    part.dataset.samples.shrink_to_fit();
  }
  return set;
}

void FolderSet::name_splits(bool has_split_folders, const std::string& wanted) {
  for (const std::string& known :
       {std::string("train"), std::string("valid"), std::string("test"), wanted})
    if (!known.empty() && parts_.contains(known) && std::ranges::count(splits_, known) == 0)
      splits_.push_back(known);
  const Index beside = std::ssize(parts_.at("").dataset.samples);
  if (!splits_.empty()) {
    if (beside > 0) passed_over_["pictures in no folder of a split"] += beside;
    parts_.erase("");
  }
  if (!has_split_folders && splits_.size() == 1) {
    own_name_ = splits_.front();
    splits_.clear();
  }
}

void FolderSet::check(const Part& part) const {
  if (!part.fault.empty()) throw DataError(part.fault);
  for (int label : {0, 1}) {
    if (part.dataset.count(label) > 0) continue;
    const auto folder = part.classes.find(label);
    if (folder != part.classes.end())
      throw DataError(fmt::format("{} holds no picture (JPEG, PNG, WebP or BMP); {}",
                                  folder->second.string(), contents(folder->second)));
    throw DataError(
        fmt::format("{} has no folder {}/ (it needs {}/ and {}/, or --classes REAL,FAKE); {}",
                    part.folder.string(), names_.example(label), names_.example(0),
                    names_.example(1), contents(part.folder)));
  }
}

Dataset FolderSet::split(const std::string& name) const {
  const auto found = parts_.find(canonical_split(name));
  if (found == parts_.end()) {
    const bool valid = canonical_split(name) == "valid";
    throw DataError(fmt::format("{} has no folder {}/; {}", root_.string(),
                                valid ? "valid/ or val/ or validation" : name, contents(root_)));
  }
  check(found->second);
  Dataset dataset = found->second.dataset;
  dataset.split = name;
  for (BadFile& bad : dataset.unlisted) bad.split = name;
  return dataset;
}

Dataset FolderSet::all() const {
  Dataset all{root_, "all", {}, {}};
  for (const auto& [split, part] : parts_) {
    check(part);
    all.samples.insert(all.samples.end(), part.dataset.samples.begin(), part.dataset.samples.end());
    for (const BadFile& bad : part.dataset.unlisted)
      all.unlisted.push_back({"all", bad.relative, bad.reason});
  }
  std::ranges::sort(all.samples, {}, &Sample::relative);
  return all;
}

}  // namespace dfengine
