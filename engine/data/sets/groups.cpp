#include "engine/data/sets/groups.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace dfengine {

std::string group_of(const Sample& sample) {
  if (!sample.group.empty()) return sample.group;
  return std::filesystem::path(sample.relative).parent_path().string();
}

DataSource hold_out(DataSource source, const std::vector<std::string>& groups) {
  if (groups.empty()) return source;
  const Dataset& first = source.splits.front();
  Dataset all{first.root, "held out", {}, {}, first.pack, first.tars};
  for (const std::string& group : groups) {
    std::size_t found = 0;
    for (Dataset& split : source.splits) {
      if (split.root != all.root || split.pack != all.pack || split.tars != all.tars)
        throw UsageError("--hold-out-group: the splits lie in different places");
      const Dataset taken = take_groups(split, {group});
      found += taken.samples.size();
      all.samples.insert(all.samples.end(), taken.samples.begin(), taken.samples.end());
    }
    if (found == 0)
      throw UsageError(
          fmt::format("--hold-out-group {}: there is no such group; name a value of "
                      "--group-column, or a folder",
                      group));
  }
  for (const Dataset& split : source.splits)
    if (split.count(0) == 0 || split.count(1) == 0)
      throw UsageError("--hold-out-group leaves " + split.split + " without one of the classes");
  source.splits.push_back(std::move(all));
  return source;
}

Dataset take_groups(Dataset& from, const std::vector<std::string>& groups) {
  const auto is_taken = [&](const Sample& sample) {
    const auto named = [&](const std::string& name) {
      return std::ranges::find(groups, name) != groups.end();
    };
    if (!sample.group.empty()) return named(sample.group);
    const std::filesystem::path folder = std::filesystem::path(sample.relative).parent_path();
    return named(folder.string()) ||
           std::ranges::any_of(folder, [&](const auto& part) { return named(part.string()); });
  };
  Dataset taken{from.root, "held out", {}, {}, from.pack, from.tars};
  const auto kept = std::stable_partition(from.samples.begin(), from.samples.end(),
                                          [&](const Sample& sample) { return !is_taken(sample); });
  taken.samples.assign(kept, from.samples.end());
  from.samples.erase(kept, from.samples.end());
  return taken;
}

}  // namespace dfengine
