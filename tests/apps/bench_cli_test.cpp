// dfengine bench: what it prints and writes, and what it refuses.
#include <gtest/gtest.h>

#include "kernels/cuda/context.h"
#include "tests/apps/cli_support.h"

namespace dfengine::test {
namespace {

using nlohmann::json;

std::vector<std::string> bench(const std::vector<std::string>& more = {}) {
  std::vector<std::string> all = {"bench", "--width",   "0.1", "--img-size", "96", "--device",
                                  "cpu",   "--threads", "1",   "--rounds",   "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

void expect_keys(const json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) EXPECT_TRUE(object.contains(key)) << key << " in " << object;
}

TEST(BenchCommand, TimesEveryWorkAtEveryBatch) {
  const ScratchFolder scratch;
  const fs::path file = scratch.path() / "bench.json";
  const Outcome o = run_program(bench({"--batch-sizes", "1,3", "--json", file.string()}));
  EXPECT_EQ(o.code, 0) << o.err;
  for (const char* part : {"MobileNetV2 0.1 at 96, fp32; 1 threads", "work   batch", "planned MiB"})
    EXPECT_TRUE(contains(o.out, part)) << part << "\n" << o.out;
  EXPECT_FALSE(contains(o.out, "backward"));
  const json report = json::parse(slurp(file));
  expect_keys(report, {"engine_version", "isa", "device", "device_name", "precision", "graphs",
                       "deterministic", "threads", "width", "img_size", "rounds",
                       "copy_gigabytes_per_second", "network", "peak_resident_bytes"});
  EXPECT_FALSE(report.contains("layers") || report.contains("feed") || report.contains("files"));
  EXPECT_EQ(report.at("device"), "cpu");
  std::vector<std::pair<std::string, int>> rows;
  for (const json& row : report.at("network")) {
    expect_keys(row, {"ms", "fastest_ms", "images_per_second", "rounds", "repeats", "bytes",
                      "flops", "gigabytes_per_second", "share_of_copy", "planned_bytes"});
    EXPECT_GT(row.at("images_per_second").get<double>(), 0);
    rows.emplace_back(row.at("work"), row.at("batch"));
  }
  const std::vector<std::pair<std::string, int>> wanted = {
      {"infer", 1},  {"infer", 3},  {"train", 1}, {"train", 3},
      {"frozen", 1}, {"frozen", 3}, {"head", 1},  {"head", 3}};
  EXPECT_EQ(rows, wanted);
}

TEST(BenchCommand, LayersListsEveryStepAndTheirSum) {
  const ScratchFolder scratch;
  const fs::path file = scratch.path() / "bench.json";
  const Outcome o = run_program(bench({"--batch-sizes", "2", "--layers", "--json", file.string()}));
  EXPECT_EQ(o.code, 0) << o.err;
  for (const char* part : {"steps of infer, plan of batch 1", "steps of train, plan of batch 2",
                           "features.18.0", "backward", "sum, without the optimiser"})
    EXPECT_TRUE(contains(o.out, part)) << part << "\n" << o.out;
  const json tables = json::parse(slurp(file)).at("layers");
  ASSERT_EQ(tables.size(), 2u);
  for (const json& table : tables) {
    expect_keys(table, {"work", "batch", "arena_bytes", "prepared_bytes", "ms", "bytes", "flops"});
    double ms = 0;
    for (const json& step : table.at("steps")) {
      expect_keys(step, {"layer", "kind", "pass", "output", "bytes", "flops",
                         "gigabytes_per_second", "share_of_copy", "gigaflops_per_second"});
      ms += step.at("ms").get<double>();
    }
    EXPECT_DOUBLE_EQ(ms, table.at("ms").get<double>());
  }
}

TEST(BenchCommand, DataAddsTheFeedAndTrainingFromFiles) {
  const ScratchFolder scratch;
  const fs::path file = scratch.path() / "bench.json";
  const Outcome o = run_program(bench(
      {"--batch-sizes", "4", "--data", picture_set(), "--count", "4", "--json", file.string()}));
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "decode and resize")) << o.out;
  EXPECT_TRUE(contains(o.out, "training from files, batch 4")) << o.out;
  const json report = json::parse(slurp(file));
  EXPECT_EQ(report.at("feed").at("pictures"), 4);
  EXPECT_GT(report.at("feed").at("decode").get<double>(), 0);
  EXPECT_GT(report.at("files").at("pictures").get<int>(), 0);
  expect_keys(report.at("files"), {"batch", "images_per_second", "waited"});
}

TEST(BenchCommand, WhatMakesNoSenseEndsWithTwo) {
  const std::vector<std::vector<std::string>> cases = {
      {"--batch-sizes", "0"}, {"--batch-sizes", "many"}, {"--batch-sizes", ""},
      {"--rounds", "0"},      {"--img-size", "100"},     {"--width", "9"},
      {"--device", "tpu"},    {"--precision", "fp8"},    {"--threads", "-1"},
      {"--layers", "all"},    {"--batch-size", "4"}};
  for (const auto& options : cases) {
    std::vector<std::string> arguments = {"bench"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Outcome o = run_program(arguments);
    EXPECT_EQ(o.code, 2) << options[0] << " " << options[1] << "\n" << o.err;
    EXPECT_NE(o.err, "");
    EXPECT_EQ(o.out, "");
  }
}

TEST(BenchCommand, NoDeviceEndsWithFive) {
  if (cuda::available()) GTEST_SKIP() << "there is a CUDA device on this machine";
  const Outcome o = run_program({"bench", "--device", "cuda"});
  EXPECT_EQ(o.code, 5) << o.err;
  EXPECT_EQ(o.out, "");
}

}  // namespace
}  // namespace dfengine::test
