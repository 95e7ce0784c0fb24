// The CPU quota of a container, as /proc and the control groups tell it.
#include "kernels/base/cpu_quota.h"

#include <gtest/gtest.h>

#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

class CpuQuota : public testing::Test {
 protected:
  void file(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((scratch_.path() / name).parent_path());
    test::spill(scratch_.path() / name, text);
  }
  std::optional<int> quota() const { return cpu_quota(scratch_.path()); }

 private:
  test::ScratchFolder scratch_;
};

TEST_F(CpuQuota, Version2TakesTheLeastOfTheGroupAndThoseAround) {
  file("proc/self/cgroup", "0::/jobs/one\n");
  file("proc/self/mountinfo",
       "22 1 8:1 / / rw - ext4 /dev/root rw\n"
       "31 22 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  EXPECT_EQ(quota(), std::nullopt);
  file("sys/fs/cgroup/jobs/one/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  file("sys/fs/cgroup/jobs/cpu.max", "250000 100000\n");
  EXPECT_EQ(quota(), 3);  // two and a half, rounded up
  file("sys/fs/cgroup/jobs/one/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 1);
  file("sys/fs/cgroup/jobs/one/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 3);
  file("sys/fs/cgroup/cpu.max", "200000 200000\n");  // as in a namespace of its own
  EXPECT_EQ(quota(), 1);
}

TEST_F(CpuQuota, Version1ReadsTheHierarchyOfTheCpuController) {
  file("proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/half\n1:name=systemd:/x\n0::/\n");
  file("proc/self/mountinfo",
       "30 22 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
       "32 22 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  file("sys/fs/cgroup/cpu,cpuacct/half/cpu.cfs_quota_us", "50000\n");
  file("sys/fs/cgroup/cpu,cpuacct/half/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 1);
  file("sys/fs/cgroup/cpu,cpuacct/half/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(quota(), 2);
}

// Docker on cgroup v1: the group's name is the host's, the mount begins at the container's group.
TEST_F(CpuQuota, AContainersMountBeginsAtItsOwnGroup) {
  file("proc/self/cgroup", "4:cpu:/docker/abc\n");
  file("proc/self/mountinfo",
       "32 22 0:29 /docker/abc /sys/fs/cgroup/cpu ro master:11 - cgroup cgroup rw,cpu\n");
  file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
  file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 2);
  file("proc/self/cgroup", "4:cpu:/elsewhere\n");
  EXPECT_EQ(quota(), 2);
}

TEST_F(CpuQuota, WhatMakesNoSenseSetsNoLimit) {
  EXPECT_EQ(quota(), std::nullopt);  // no /proc
  file("proc/self/cgroup", "nonsense\n0:\n0::/\n");
  file("proc/self/mountinfo", "\n1 2 3\n- - -\n31 22 0:28 / /cg rw - cgroup2 cgroup2 rw\n");
  for (const char* text : {"", "many 100000", "100000", "100000 0", "-5 100000", "0 100000"}) {
    file("cg/cpu.max", text);
    EXPECT_EQ(quota(), std::nullopt) << text;
  }
  file("cg/cpu.max", "1e300 1");
  EXPECT_GE(quota().value_or(0), 1024);
}

}  // namespace
}  // namespace dfengine
