// What an option names for writing is looked at before the work: nothing that a person has is
// replaced.
#include "engine/train/run_files.h"
#include "tests/apps/cli_support.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

using test::contains;
using test::model_file;
using test::Outcome;
using test::picture_set;
using test::run_program;
using test::ScratchFolder;
using test::slurp;
using test::spill;
using test::trained_run;

using Words = std::vector<std::string>;

class Outputs : public testing::Test {
 protected:
  void SetUp() override {
    run_ = at("run");
    fs::copy(trained_run(), run_, fs::copy_options::recursive);
    const std::string picture = slurp(picture_set() + "/test/real/00038.jpg");
    for (const char* name : {"g1.jpg", "g2.jpg"}) spill(at(name), picture);
    spill(at("table.csv"), "path,label\n");
  }
  std::string at(const std::string& name) const { return (scratch_.path() / name).string(); }

  // The command ends before its work with this code, and `file` is as it was.
  void expect_refused(const Words& words, const std::string& file, int code = 2) const {
    const bool there = fs::exists(file);
    const std::string before = there && fs::is_regular_file(file) ? slurp(file) : "";
    const Outcome o = run_program(words);
    EXPECT_EQ(o.code, code) << words[0] << " " << o.err;
    EXPECT_TRUE(contains(o.err, file)) << words[0] << " " << o.err;
    EXPECT_EQ(o.out, "") << words[0];
    EXPECT_EQ(fs::exists(file), there) << words[0];
    if (!before.empty()) {
      EXPECT_EQ(slurp(file), before) << words[0];
    }
  }

  ScratchFolder scratch_;
  std::string run_;
};

TEST_F(Outputs, NoPictureBecomesSomethingElse) {
  const std::string first = at("g1.jpg"), second = at("g2.jpg");
  expect_refused({"embed", "--model", model_file(), "--output", first, second}, first);
  expect_refused({"bench", "--json", first}, first);
  expect_refused({"selftest", "--json", first}, first);
  expect_refused({"augment", "--data", second, "--preview", first}, first);
  // Under another name, and where the ending is right.
  const std::string sheet = at("sheet.png");
  fs::create_symlink(first, sheet);
  expect_refused({"augment", "--data", first, "--preview", sheet}, sheet);
  fs::remove(sheet);
  const Outcome o = run_program({"augment", "--data", first, "--preview", sheet, "--rows", "1",
                                 "--variants", "1", "--img-size", "32"});
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_F(Outputs, NoInputIsReplaced) {
  const std::string own = at("own.safetensors"), kept = run_ + "/" + kBestModel;
  fs::copy(model_file(), own);
  expect_refused({"embed", "--model", own, "--output", own, at("g1.jpg")}, own);
  expect_refused({"convert", own, own}, own);
  expect_refused({"quantize", "--model", run_, "--output", kept}, kept);
  expect_refused({"quantize", "--model", own, "--calibrate", at("g1.jpg"), "--output", own}, own);
  expect_refused({"average", run_, run_, "--output", kept}, kept);
  expect_refused({"hybrid", "train", "--model", run_, "--csv", at("table.csv"), "--output", kept},
                 kept);
  expect_refused({"cascade", "--model", own, "--metadata", at("table.csv"), "--csv",
                  at("table.csv"), "--output", own},
                 own);
}

TEST_F(Outputs, NoFileOfARunIsReplaced) {
  const std::string kept = run_ + "/" + kBestModel, logits = run_ + "/" + kValidPredictions;
  expect_refused({"convert", model_file(), kept}, kept);
  expect_refused({"convert", model_file(), logits}, logits);
  const Outcome beside = run_program({"convert", model_file(), run_ + "/other.safetensors"});
  EXPECT_EQ(beside.code, 0) << beside.err;
  spill(run_ + "/" + kBadFiles, "split,path,reason\n");
  for (const Words& words :
       {Words{"eval", "--model", run_, "--data", picture_set(), "--output", run_},
        Words{"compare", run_, run_, "--output", run_}}) {
    expect_refused(words, run_);
    EXPECT_TRUE(fs::exists(run_ + "/" + kBadFiles)) << words[0];
  }
}

TEST_F(Outputs, AModelFileIsCalledSo) {
  for (const std::string& out : {at("m.onnx"), at("m")}) {
    expect_refused({"quantize", "--model", run_, "--output", out}, out);
    expect_refused({"average", run_, run_, "--output", out}, out);
    expect_refused({"hybrid", "train", "--model", run_, "--csv", at("table.csv"), "--output", out},
                   out);
    expect_refused({"cascade", "--model", run_, "--metadata", at("table.csv"), "--csv",
                    at("table.csv"), "--output", out},
                   out);
  }
}

TEST_F(Outputs, WhatCannotBeWrittenOrReadIsSaidBeforeTheWork) {
  const std::string below = at("none/q.safetensors");
  expect_refused({"quantize", "--model", run_, "--output", below}, below, 1);
  expect_refused({"convert", model_file(), below}, below, 1);
  expect_refused({"bench", "--json", at("none/b.json")}, at("none/b.json"), 1);
  expect_refused({"bench", "--json", scratch_.path().string()}, scratch_.path().string(), 1);
  expect_refused({"bench", "--data", at("nowhere")}, at("nowhere"), 3);
}

}  // namespace
}  // namespace dfengine
