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

TEST(GivenOptions, AnEmptyTextIsNoValue) {
  const std::string& model = model_file();
  const std::string data = picture_set();
  const ScratchFolder scratch;
  const test::Inside there(scratch.path());
  for (const auto& [words, option] : std::vector<std::pair<Words, const char*>>{
           {{"train", "--data", data, "--output", "x", "--weights", ""}, "--weights: "},
           {{"train", "--data", data, "--output", "x", "--teacher", ""}, "--teacher: "},
           {{"train", "--data", data, "--output", "x", "--epochs", ""}, "--epochs: "},
           {{"synth", "--output", ""}, "--output: "},
           {{"ablate", "--data", data, "--weights", model, "--output", ""}, "--output: "},
           {{"eval", "--model", model, "--data", data, "--output", ""}, "--output: "},
           {{"compare", "x", "y", "--output", ""}, "--output: "},
           {{"audit", "--data", data, "--output", ""}, "--output: "},
           {{"predict", "--model", model, data, "--output", ""}, "--output: "},
           {{"quantize", "--model", model, "--output", ""}, "--output: "},
           {{"metadata", "train", "--csv", "", "--test-csv", "x", "--output", "x"}, "--csv: "},
           {{"embed", "--model", model, "--output", "x", ""}, "PATH: "}}) {
    const Outcome o = run_program(words);
    EXPECT_EQ(o.code, 2) << words[0] << o.err;
    EXPECT_TRUE(contains(o.err, std::string(option) + "an empty text is no value")) << o.err;
    EXPECT_EQ(o.out, "") << words[0];
  }
  EXPECT_FALSE(fs::exists("x"));
}

TEST(GivenOptions, ARangeIsSaidInFewWords) {
  const ScratchFolder scratch;
  const test::Inside there(scratch.path());
  for (const auto& [words, text] : std::vector<std::pair<Words, const char*>>{
           {{"bench", "--rounds", "0"}, "--rounds: Value 0 not in range 1 to 1000000\n"},
           {{"bench", "--count", "0"}, "--count: Value 0 not in range 1 to 1000000\n"},
           {{"bench", "--threads", "-1"}, "--threads: Value -1 not in range 0 to 4096\n"},
           {{"predict", "--model", "m", "p", "--threads", "2000000000"},
            "--threads: Value 2000000000 not in range 0 to 4096\n"},
           {{"synth", "--output", "x", "--seed", "-1"}, "--seed: Value -1 is negative\n"},
           {{"train", "--data", "d", "--output", "x", "--seed", "-1"},
            "--seed: Value -1 is negative\n"}}) {
    const Outcome o = run_program(words);
    EXPECT_EQ(o.code, 2) << words[0];
    EXPECT_TRUE(contains(o.err, text)) << o.err;
  }
  EXPECT_FALSE(fs::exists("x"));
}

TEST(GivenOptions, AnOptionWithoutTheOneItBelongsToIsRefused) {
  const ScratchFolder scratch;
  const test::Inside there(scratch.path());
  const Words train = {"train", "--data", "nowhere", "--output", "x"};
  const auto run = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  };
  for (const auto& [more, partner] :
       std::vector<std::pair<Words, const char*>>{{{"--webp-qual", "10,20"}, "--webp-prob"},
                                                  {{"--jpg-qual", "10,20"}, "--jpg-prob"},
                                                  {{"--blur-sig", "1,2"}, "--blur-prob"},
                                                  {{"--downscale", ".5,1"}, "--downscale-prob"},
                                                  {{"--ratio", "1,1"}, "--scale"},
                                                  {{"--model-ema-decay", ".9"}, "--model-ema"},
                                                  {{"--teacher-temperature", "2"}, "--teacher"},
                                                  {{"--unfreeze-at-epoch", "2"}, "--freeze"}}) {
    const Outcome o = run(train, more);
    EXPECT_EQ(o.code, 2) << more[0];
    EXPECT_TRUE(contains(o.err, more[0] + " does nothing without " + partner + ":")) << o.err;
  }
  EXPECT_EQ(run({"augment", "--data", picture_set(), "--preview", "x"}, {"--jpg-qual", "9,9"}).code,
            2);
  EXPECT_EQ(run({"bench"}, {"--jpg-qual", "9,9"}).code, 2);
  // With the other one, or with a recipe that has it, the data is looked for.
  for (const Words& more : {Words{"--jpg-qual", "9,9", "--jpg-prob", "0"},
                            Words{"--jpg-qual", "9,9", "--recipe", "robust"},
                            Words{"--model-ema-decay", ".9", "--recipe", "best"},
                            Words{"--unfreeze-at-epoch", "2", "--recipe", "seed"}})
    EXPECT_EQ(run(train, more).code, 3) << more[0];
  EXPECT_FALSE(fs::exists("x"));
}

TEST(GivenOptions, AFrozenBaseOfRandomValuesIsSaid) {
  const auto warning = [](const Words& more) {
    Words words = {"train", "--data", "nowhere", "--output", "x"};
    words.insert(words.end(), more.begin(), more.end());
    return contains(run_program(words).err, "without --weights keeps random values");
  };
  EXPECT_TRUE(warning({"--freeze", "3"}));
  EXPECT_TRUE(warning({"--recipe", "seed"}));
  EXPECT_FALSE(warning({"--freeze", "3", "--weights", model_file()}));
  EXPECT_FALSE(warning({}));
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
