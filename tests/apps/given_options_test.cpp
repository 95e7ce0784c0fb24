// Options are taken as they are given, or refused; names need not be UTF-8.
#include "engine/train/initial_model.h"
#include "kernels/base/json_bytes.h"
#include "tests/apps/cli_support.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

using test::contains;
using test::model_file;
using test::Outcome;
using test::picture_set;
using test::run_program;
using test::ScratchFolder;

using Words = std::vector<std::string>;

constexpr const char* kOdd = "odd\xff";  // no UTF-8

TEST(GivenOptions, WhatWouldBeIgnoredIsRefused) {
  const std::string& model = model_file();
  const std::string pictures = picture_set();
  const std::vector<std::pair<Words, const char*>> cases = {
      {{"pack", "--data", pictures, pictures, "x.dfpack"}, "--data"},
      {{"info", model, "--plan", "--freeze", "foo"}, "--freeze"},
      {{"info", model, "--plan", "--freeze", "2"}, "--phase"},
      {{"info", model, "--plan", "--grad-checkpoint"}, "--phase"},
      {{"selftest", "--device", "cpu", "--precision", "fp16"}, "fp16"},
      {{"predict", "--model", model, "--threshold", "nan", pictures}, "--threshold"},
      {{"eval", "--model", model, "--data", pictures, "--threshold", "nan"}, "--threshold"},
      {{"eval", "--model", model, "--data", pictures, "--split", "valid", "--unsure-errors", "nan"},
       "--unsure-errors"}};
  for (const auto& [words, part] : cases) {
    const Outcome o = run_program(words);
    EXPECT_EQ(o.code, 2) << words[0] << o.err;
    EXPECT_TRUE(contains(o.err, part)) << o.err;
    EXPECT_EQ(o.out, "") << words[0];
  }
}

TEST(GivenOptions, ArgumentsInAModelFileNameNoFolderOfThisMachine) {
  TrainOptions options;
  options.data = fs::path("/secret") / kOdd;
  options.csv = options.valid_csv = options.test_csv = "/secret/t.csv";
  options.weights = "/secret/w\xff.safetensors";
  const std::string note = arguments_note(options);
  EXPECT_EQ(note.find("secret"), std::string::npos) << note;
  const nlohmann::json args = nlohmann::json::parse(note);
  EXPECT_EQ(bytes_from_json(args.at("data")), kOdd);
  EXPECT_EQ(args.at("test_csv"), "t.csv");
  EXPECT_EQ(args.at("places").size(), 5u);
}

TEST(GivenOptions, NamesNeedNotBeUtf8) {
  const ScratchFolder scratch;
  const fs::path data = scratch.path() / kOdd, run = scratch.path() / (std::string("run") + kOdd);
  fs::create_directory_symlink(picture_set(), data);
  const Outcome trained =
      run_program({"train", "--data", data.string(), "--output", run.string(), "--width", "0.1",
                   "--img-size", "96", "--epochs", "1", "--threads", "1"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const fs::path mean = scratch.path() / "mean.safetensors";
  // Where a path ends in a slash its folder still has a name.
  const Outcome average = run_program(
      {"average", run.string() + "/", run.string(), "--output", mean.string(), "--threads", "1"});
  EXPECT_EQ(average.code, 0) << average.err;
  const auto runs = load_detector(mean).notes.at("average_of");
  EXPECT_EQ(runs, "runodd\uFFFD, runodd\uFFFD");
  const fs::path foreign = scratch.path() / (std::string(kOdd) + ".safetensors");
  weights::TensorFile file = weights::read_safetensors(model_file());
  file.metadata.clear();
  weights::write_safetensors(foreign, file);
  const Outcome converted =
      run_program({"convert", foreign.string(), (scratch.path() / "c.safetensors").string()});
  EXPECT_EQ(converted.code, 0) << converted.err;
}

TEST(GivenOptions, EmbedNamesEveryPictureByItsPath) {
  const ScratchFolder scratch;
  Words paths;
  for (const char* name : {"a/1.jpg", "b/1.jpg", "b/two\nlines.jpg", "b/odd\xff.jpg"}) {
    const fs::path file = scratch.path() / name;
    fs::create_directories(file.parent_path());
    fs::copy(picture_set() + "/test/real/00038.jpg", file);
    paths.push_back(file.string());
  }
  const fs::path out = scratch.path() / "e.safetensors";
  Words words = {"embed", "--model", model_file(), "--output", out.string()};
  words.insert(words.end(), paths.begin(), paths.end());
  const Outcome o = run_program(words);
  ASSERT_EQ(o.code, 0) << o.err;
  const nlohmann::json files =
      nlohmann::json::parse(weights::read_safetensors(out).metadata.at("files"));
  ASSERT_EQ(files.size(), paths.size());
  for (std::size_t i = 0; i < paths.size(); ++i) EXPECT_EQ(bytes_from_json(files[i]), paths[i]);
}

}  // namespace
}  // namespace dfengine
