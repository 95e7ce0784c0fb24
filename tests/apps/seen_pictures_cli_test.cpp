// What eval, compare, average and train say of pictures that a model was trained on.
#include <gtest/gtest.h>

#include "tests/apps/cli_support.h"

namespace dfengine {
namespace {

using test::contains;
using test::Inside;
using test::Outcome;
using test::run_program;
using test::ScratchFolder;
using Words = std::vector<std::string>;

// One set without splits, and two runs that divide it by other seeds.
class SeenPicturesCli : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(scratch_.path() / "flat");
    for (const char* label : {"real", "fake"})
      std::filesystem::copy(test::picture_set() + "/train/" + label,
                            scratch_.path() / "flat" / label,
                            std::filesystem::copy_options::recursive);
    // As a person names it who stands beside it.
    const Inside folder(scratch_.path());
    for (const char* seed : {"0", "1"}) {
      const Outcome o = train(seed, {"--width", "0.1", "--img-size", "96"}, seed);
      ASSERT_EQ(o.code, 0) << o.err;
      EXPECT_FALSE(contains(o.err, "trained on")) << o.err;
    }
  }

  static Outcome train(const std::string& run, const Words& more, const std::string& seed) {
    Words words = {"train", "--data",    "flat", "--split",  ".6,.4", "--seed",
                   seed,    "--output",  run,    "--epochs", "1",     "--head-epochs",
                   "0",     "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  }

  std::string file(const std::string& name) const { return (scratch_.path() / name).string(); }

  // What standard error says.
  std::string eval(const std::string& run, const Words& more) const {
    Words words = {"eval", "--model", file(run), "--data", file("flat"), "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome o = run_program(words);
    EXPECT_EQ(o.code, 0) << o.err;
    return o.err;
  }

  ScratchFolder scratch_;
};

TEST_F(SeenPicturesCli, EvalAndCompareSayWhatAModelWasTrainedOn) {
  const Words valid = {"--split", "valid", "--fractions", ".6,.4", "--seed"};
  const auto with = [](Words words, const char* last) {
    words.emplace_back(last);
    return words;
  };
  const std::string forgotten = eval("1", with(valid, "0"));
  EXPECT_TRUE(
      contains(forgotten, "dfengine: warning: " + file("1") + ": the model was trained on "))
      << forgotten;
  EXPECT_TRUE(contains(forgotten, "flat, divided by 0.6,0.4 with --seed 1): figures there are"))
      << forgotten;
  EXPECT_FALSE(contains(eval("1", with(valid, "1")), "trained on"));
  const std::string asked_for =
                        eval("1", {"--split", "train", "--fractions", ".6,.4", "--seed", "1"}),
                    whole = eval("1", {});
  EXPECT_TRUE(contains(asked_for, "the model was trained on ")) << asked_for;
  EXPECT_TRUE(contains(whole, " of these 32 pictures")) << whole;
  for (const std::string& text : {asked_for, whole})
    EXPECT_FALSE(contains(text, "warning")) << text;
  const Outcome both =
      run_program({"compare", "--paired", file("0"), file("1"), "--data", file("flat"), "--split",
                   "valid", "--fractions", ".6,.4", "--threads", "1"});
  ASSERT_EQ(both.code, 0) << both.err;
  EXPECT_TRUE(contains(both.err, file("1") + ": the model was trained on ")) << both.err;
  EXPECT_FALSE(contains(both.err, file("0") + ": the model was trained on ")) << both.err;
}

TEST_F(SeenPicturesCli, NothingIsCalibratedOnWhatAMemberWasTrainedOn) {
  const std::string out = file("e.safetensors");
  const Outcome joined =
      run_program({"average", file("0"), file("1"), "--ensemble", "--output", out});
  EXPECT_EQ(joined.code, 2) << joined.out;
  EXPECT_TRUE(contains(joined.err, file("1") + ": this run was trained on ")) << joined.err;
  EXPECT_TRUE(contains(joined.err, "the same set, --split and --seed")) << joined.err;
  EXPECT_FALSE(std::filesystem::exists(out));
  // A run that goes on from the other's model keeps what that one was trained on.
  const Inside folder(scratch_.path());
  const Outcome tuned = train("tuned", {"--weights", "0/best.safetensors"}, "1");
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_TRUE(contains(tuned.err, "0/best.safetensors: warning: these weights were trained on "))
      << tuned.err;
  const std::string measured =
      eval("tuned", {"--split", "valid", "--fractions", ".6,.4", "--seed", "1"});
  EXPECT_TRUE(contains(measured, "divided by 0.6,0.4 with --seed 0")) << measured;
  const Outcome same = train("same", {"--weights", "0/best.safetensors"}, "0");
  ASSERT_EQ(same.code, 0) << same.err;
  EXPECT_FALSE(contains(same.err, "trained on")) << same.err;
  EXPECT_EQ(run_program({"average", file("0"), file("same"), "--ensemble", "--output", out}).code,
            0);
}

}  // namespace
}  // namespace dfengine
