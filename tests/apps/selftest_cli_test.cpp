// dfengine selftest on the CPU, and what it says where there is no GPU.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kernels/cuda/context.h"
#include "tests/apps/cli_support.h"

namespace dfengine {
namespace {

using test::contains;
using test::Outcome;
using test::run_program;
using test::ScratchFolder;

TEST(SelftestCommand, TheCpuPassesInLinesAndInJson) {
  const ScratchFolder scratch;
  const std::filesystem::path file = scratch.path() / "selftest.json";
  const Outcome o = run_program({"selftest", "--device", "cpu", "--json", file.string()});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.err, "");
  EXPECT_FALSE(contains(o.out, "FAILED")) << o.out;
  for (const char* part : {"ok     pointwise ", "ok     inference of the whole network",
                           "ok     3 training steps", "a copy moves "})
    EXPECT_TRUE(contains(o.out, part)) << part;
  const nlohmann::json report = nlohmann::json::parse(test::slurp(file));
  EXPECT_EQ(report.at("passed"), true);
  EXPECT_GT(report.at("copy_gigabytes_per_second"), 0);
  EXPECT_GT(report.at("checks").size(), 80u);
  for (const nlohmann::json& check : report.at("checks")) {
    EXPECT_TRUE(check.at("failures").empty()) << check;
    EXPECT_TRUE(contains(o.out, check.at("what").get<std::string>())) << check;
  }
}

TEST(SelftestCommand, WithoutAGpuItSaysSo) {
  if (cuda::available()) GTEST_SKIP() << "there is a CUDA device on this machine";
  const Outcome o = run_program({"selftest", "--device", "cuda"});
  EXPECT_EQ(o.code, 5);
  EXPECT_TRUE(contains(o.err, "CUDA")) << o.err;
}

}  // namespace
}  // namespace dfengine
