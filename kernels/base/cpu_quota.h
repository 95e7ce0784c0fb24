// How much CPU time a container leaves its processes.
#pragma once

#include <filesystem>
#include <optional>

namespace dfengine {

// The CPUs' worth of time that the control groups of this process allow, rounded up and at least 1:
// the least quota of its group and the groups around it, in cgroup v1 (cpu.cfs_quota_us) or v2
// (cpu.max). Nothing where no group sets one, or the system does not say. `root` stands for "/".
std::optional<int> cpu_quota(const std::filesystem::path& root = "/");

}  // namespace dfengine
