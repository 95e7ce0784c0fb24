#include "kernels/base/cpu_quota.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace dfengine {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> parts_of(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool lists_cpu(const std::string& controllers) {
  return std::ranges::count(parts_of(controllers, ','), "cpu") > 0;
}

// Where the groups of one kind of hierarchy are mounted, and which of them is the mount's top.
struct Mount {
  fs::path point;
  std::string top;
};

std::optional<Mount> find_mount(const fs::path& root, bool version_2) {
  // man 5 proc_pid_mountinfo: id parent device top point options [more...] - type source options
  std::ifstream mounts(root / "proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const std::vector<std::string> words = parts_of(line, ' ');
    const auto dash = std::ranges::find(words, "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    const bool fits = version_2 ? dash[1] == "cgroup2" : dash[1] == "cgroup" && lists_cpu(dash[3]);
    if (fits) return Mount{root / fs::path(words[4]).relative_path(), words[3]};
  }
  return std::nullopt;
}

// The group's folder below the mount: a container may see groups above its mount's top in the
// names.
fs::path below_top(const std::string& group, const std::string& top) {
  const fs::path relative = fs::path(group).lexically_relative(top);
  return relative.empty() || *relative.begin() == ".." ? fs::path(".") : relative;
}

// CPUs' worth of time, 0 where there is no limit.
double quota_of(const fs::path& group, bool version_2) {
  double quota = -1, period = 0;
  if (version_2) {
    std::ifstream(group / "cpu.max") >> quota >> period;  // "max" is no number
  } else {
    std::ifstream(group / "cpu.cfs_quota_us") >> quota;
    std::ifstream(group / "cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

}  // namespace

std::optional<int> cpu_quota(const fs::path& root) {
  double least = 0;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // man 7 cgroups: hierarchy:controllers:group
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool version_2 = controllers.empty();
    if (!version_2 && !lists_cpu(controllers)) continue;
    const std::optional<Mount> mount = find_mount(root, version_2);
    if (!mount) continue;
    fs::path folder = mount->point;
    const auto look = [&](const fs::path& group) {
      const double quota = quota_of(group, version_2);
      if (quota > 0) least = least > 0 ? std::min(least, quota) : quota;
    };
    look(folder);
    for (const fs::path& part : below_top(line.substr(second + 1), mount->top))
      look(folder /= part);
  }
  if (least == 0) return std::nullopt;
  constexpr double kMost = 1 << 20;
  return static_cast<int>(std::min(std::ceil(least), kMost));
}

}  // namespace dfengine
