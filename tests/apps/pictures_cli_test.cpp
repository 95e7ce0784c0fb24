// dfengine pack and augment, and packed files as data of train and eval.
#include <gtest/gtest.h>

#include "tests/apps/cli_support.h"

namespace dfengine {
namespace {

using test::contains;
using test::Outcome;
using test::picture_set;
using test::run_program;
using test::ScratchFolder;
using test::slurp;

std::string in(const ScratchFolder& scratch, const char* name) {
  return (scratch.path() / name).string();
}

TEST(PackCommand, MakesAFileThatEvalReadsAsItReadsTheFolder) {
  const ScratchFolder scratch;
  const std::string pack = in(scratch, "set.dfpack");
  const std::vector<std::string> arguments = {"pack", picture_set(), pack, "--img-size", "96"};
  const Outcome made = run_program(arguments);
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_TRUE(contains(made.out, "1 MiB to write")) << made.out;
  EXPECT_TRUE(contains(made.out, "40 pictures packed")) << made.out;
  EXPECT_TRUE(contains(run_program(arguments).out, "is up to date"));
  const Outcome other = run_program({"pack", picture_set(), pack, "--img-size", "128"});
  EXPECT_EQ(other.code, 3);
  EXPECT_TRUE(contains(other.err, "remove it")) << other.err;

  const auto predictions = [&](const std::string& data, const char* folder) {
    const Outcome o = run_program({"eval", "--model", test::model_file(), "--data", data, "--split",
                                   "test", "--output", in(scratch, folder), "--threads", "1"});
    EXPECT_EQ(o.code, 0) << o.err;
    return slurp(scratch.path() / folder / "predictions.csv");
  };
  EXPECT_EQ(predictions(pack, "packed"), predictions(picture_set(), "files"));
  EXPECT_EQ(run_program({"pack", picture_set(), in(scratch, "set.zip")}).code, 2);
}

TEST(PackCommand, WhatCouldNotBeListedEndsItWithAWord) {
  const ScratchFolder scratch;
  const std::filesystem::path set = scratch.path() / "set";
  std::filesystem::copy(picture_set(), set, std::filesystem::copy_options::recursive);
  std::filesystem::create_directory_symlink(set / "train/real", set / "train/real/again");
  for (const char* said : {"40 pictures packed", "is up to date"}) {
    const Outcome o = run_program(
        {"pack", set.string(), in(scratch, "set.dfpack"), "--img-size", "96", "--threads", "1"});
    EXPECT_EQ(o.code, 3) << o.err;
    EXPECT_TRUE(contains(o.out, said)) << o.out;
    EXPECT_TRUE(contains(o.err, "1 could not be listed, train/real/again first: a link")) << o.err;
  }
}

TEST(AugmentCommand, WritesAContactSheet) {
  const ScratchFolder scratch;
  const Outcome o = run_program({"augment", "--preview", in(scratch, "sheet.png"), "--data",
                                 picture_set(), "--rows", "3", "--img-size", "64", "--color-jitter",
                                 "0.4", "--jpg-prob", "0.5", "--scale", "0.5,1"});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "3 pictures")) << o.out;
  EXPECT_TRUE(contains(o.out, "color jitter 0.4 0.4 0.4 0")) << o.out;
  const Image sheet = decode_image(scratch.path() / "sheet.png");
  EXPECT_EQ(sheet.h, 3 * 68 + 4);
  EXPECT_EQ(sheet.w, 8 * 68 + 4);
  for (const char* bad : {"1,2,3", "a", "0.5,", "0.9,0.1"}) {
    EXPECT_EQ(run_program({"augment", "--preview", in(scratch, "no.png"), "--data", picture_set(),
                           "--scale", bad})
                  .code,
              2)
        << bad;
  }
}

}  // namespace
}  // namespace dfengine
