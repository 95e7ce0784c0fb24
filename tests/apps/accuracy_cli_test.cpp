// The program's commands about how good a model is: groups, paired comparison, unsure answers,
// means of runs, folds, distillation.
#include <fmt/format.h>

#include "engine/train/run_files.h"
#include "tests/apps/cli_support.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {
namespace {

nlohmann::json json_of(const fs::path& file) {
  return nlohmann::json::parse(slurp(file));
}

TEST(AccuracyCli, EvalSaysWhichFoldersAreHard) {
  const ScratchFolder scratch;
  const Outcome o = run_program({"eval", "--model", trained_run().string(), "--data", picture_set(),
                                 "--by", "folder", "--output", scratch.path().string()});
  ASSERT_EQ(o.code, 0) << o.err;
  const nlohmann::json by = json_of(scratch.path() / "metrics.json").at("by");
  EXPECT_EQ(by.at("column"), "folder");
  ASSERT_EQ(by.at("groups").size(), 2u);  // the folders of both classes
  EXPECT_EQ(
      by.at("groups").at(0).at("fake").get<int>() + by.at("groups").at(1).at("fake").get<int>(), 2);
  EXPECT_TRUE(by.contains("worst"));
  EXPECT_TRUE(contains(o.out, "worst")) << o.out;
  EXPECT_TRUE(contains(slurp(scratch.path() / "report.html"), "By folder"));
  for (const char* rate : {"0.05", "0.01", "0.005", "0.001"})
    EXPECT_TRUE(
        json_of(scratch.path() / "metrics.json").contains(std::string("tpr_at_fpr_") + rate));
}

// The same model with all logits lifted to where the sigmoid is exactly 1 ranks as it did.
TEST(AccuracyCli, EvalAndCompareRankByLogits) {
  const ScratchFolder scratch;
  Model model = load_detector(trained_run() / "best.safetensors");
  model.temperature = 1;
  const std::string plain = (scratch.path() / "plain.safetensors").string();
  save_model(plain, model);
  const int bias = model.parameters.find("head.fc2.bias");
  const std::vector<float> lifted = {model.parameters.get(bias)[0] + 64};
  model.parameters.set(bias, std::span<const float>(lifted));
  const std::string high = (scratch.path() / "high.safetensors").string();
  save_model(high, model);
  const auto eval = [&](const std::string& file) {
    const Outcome o = run_program({"eval", "--model", file, "--data", picture_set(), "--split",
                                   "train", "--by", "folder", "--output", scratch.path().string()});
    EXPECT_EQ(o.code, 0) << o.err;
    return json_of(scratch.path() / "metrics.json");
  };
  const nlohmann::json of_plain = eval(plain), of_high = eval(high);
  EXPECT_NE(of_plain.at("roc_auc"), 0.5) << "the case must rank";
  EXPECT_EQ(of_high.at("accuracy"), 0.5) << "everything is called fake";
  for (const char* key : {"roc_auc", "pr_auc", "eer", "tpr_at_fpr_0.1"})
    EXPECT_EQ(of_high.at(key), of_plain.at(key)) << key;
  EXPECT_EQ(of_high.at("by").at("worst").at("roc_auc"),
            of_plain.at("by").at("worst").at("roc_auc"));
  const Outcome o = run_program({"compare", "--paired", plain, high, "--data", picture_set(),
                                 "--split", "train", "--output", scratch.path().string()});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(json_of(scratch.path() / "paired.json").at("delong").at("difference"), 0);
}

// One maker of fakes is among the training pictures alone.
std::string maker_of(const std::string& split, const std::string& kind, const std::string& name) {
  if (kind == "real") return "camera";
  return split == "train" && name.back() >= '5' ? "odd" : "even";
}

// A table of the pictures of `set` with a column of their makers.
fs::path table_with_makers(const fs::path& folder, const fs::path& set = picture_set()) {
  std::string text = "path,label,split,maker\n";
  for (const char* split : {"train", "valid", "test"})
    for (const char* kind : {"real", "fake"})
      for (const auto& file : fs::directory_iterator(set / split / kind))
        text += fmt::format("{},{},{},{}\n", file.path().string(), kind, split,
                            maker_of(split, kind, file.path().stem().string()));
  spill(folder / "table.csv", text);
  return folder / "table.csv";
}

TEST(AccuracyCli, GroupsOfATableAreMeasuredAndHeldOut) {
  const ScratchFolder scratch;
  const std::string table = table_with_makers(scratch.path()).string();
  const Outcome by = run_program({"eval", "--model", trained_run().string(), "--csv", table,
                                  "--split", "all", "--by", "maker"});
  EXPECT_EQ(by.code, 0) << by.err;
  for (const char* group : {"camera", "even", "odd", "mean", "worst"})
    EXPECT_TRUE(contains(by.out, group)) << by.out;
  const fs::path run = scratch.path() / "run";
  const Outcome o = run_program({"train", "--csv", table, "--group-column", "maker",
                                 "--hold-out-group", "odd", "--output", run.string(), "--width",
                                 "0.1", "--img-size", "96", "--epochs", "1", "--threads", "1"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "held out:")) << o.out;
  const nlohmann::json held = json_of(run / kHeldOut);
  EXPECT_EQ(held.at("groups").at(0).at("group"), "held out: odd");
  EXPECT_GT(held.at("groups").at(0).at("fake"), 0);
  // The validation pictures stand beside it: mean and worst are of the one group held out.
  ASSERT_EQ(held.at("groups").size(), 2u);
  for (const char* row : {"mean", "worst"})
    for (const char* figure : {"real", "fake", "accuracy", "roc_auc"})
      EXPECT_EQ(held.at(row).at(figure), held.at("groups").at(0).at(figure)) << row << figure;
  const Outcome none =
      run_program({"train", "--csv", table, "--group-column", "maker", "--hold-out-group", "tuna",
                   "--output", (scratch.path() / "no").string(), "--width", "0.1"});
  EXPECT_EQ(none.code, 2) << none.err;
  EXPECT_TRUE(contains(none.err, "tuna")) << none.err;
}

// After training the pictures that were held out are made unreadable, and a single one of those
// would end either command.
TEST(AccuracyCli, NoCommandOfARunLooksAtWhatItHeldOut) {
  const ScratchFolder scratch;
  const fs::path set = scratch.path() / "set";
  fs::copy(picture_set(), set, fs::copy_options::recursive);
  const std::string table = table_with_makers(scratch.path(), set).string();
  std::vector<std::string> runs;
  for (const char* lr : {"0.001", "0.002"}) {
    runs.push_back((scratch.path() / lr).string());
    const Outcome o = run_program(
        {"train",     "--csv",         table,  "--group-column", "maker", "--hold-out-group",
         "odd",       "--on-bad",      "fail", "--lr",           lr,      "--output",
         runs.back(), "--width",       "0.1",  "--img-size",     "96",    "--epochs",
         "1",         "--head-epochs", "0",    "--threads",      "1"});
    ASSERT_EQ(o.code, 0) << o.err;
  }
  int held_out = 0;
  for (const auto& file : fs::directory_iterator(set / "train" / "fake"))
    if (maker_of("train", "fake", file.path().stem().string()) == "odd") {
      spill(file.path(), "no picture");
      ++held_out;
    }
  ASSERT_GT(held_out, 0);
  const std::string file = (scratch.path() / "m.safetensors").string();
  const Outcome mean = run_program({"average", runs[0], runs[1], "--output", file});
  EXPECT_EQ(mean.code, 0) << mean.err;
  const Outcome small = run_program({"quantize", "--model", runs[0], "--output", file});
  EXPECT_EQ(small.code, 0) << small.err;
}

TEST(AccuracyCli, TwoModelsAreComparedOnTheSamePictures) {
  const ScratchFolder scratch;
  const Outcome o =
      run_program({"compare", "--paired", model_file(), trained_run().string(), "--data",
                   picture_set(), "--split", "train", "--output", scratch.path().string()});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "DeLong")) << o.out;
  const nlohmann::json paired = json_of(scratch.path() / "paired.json");
  EXPECT_EQ(paired.at("n"), 32);
  EXPECT_EQ(paired.at("delong").at("difference").get<double>(),
            paired.at("roc_auc").at(1).get<double>() - paired.at("roc_auc").at(0).get<double>());
  EXPECT_EQ(run_program({"compare", "--paired", model_file(), "--data", picture_set()}).code, 2);
  EXPECT_EQ(run_program({"compare", trained_run().string(), "--data", picture_set()}).code, 2);
}

TEST(AccuracyCli, PicturesThatCannotBeReadAreNamedAtTheEnd) {
  const ScratchFolder scratch;
  const fs::path set = scratch.path() / "set", file = scratch.path() / "m.safetensors";
  fs::copy(picture_set(), set, fs::copy_options::recursive);
  spill(set / "valid/real/bad.jpg", "no picture");
  spill(set / "train/fake/bad.jpg", "no picture");
  const std::string run = trained_run().string();
  for (std::vector<std::string> words : std::vector<std::vector<std::string>>{
           {"compare", "--paired", run, model_file(), "--split", "valid"},
           {"average", run, run, "--output", file},
           {"average", run, run, "--ensemble", "--output", file},
           {"quantize", "--model", run, "--output", file}}) {
    words.insert(words.end(), {"--data", set, "--threads", "1"});
    fs::remove(file);
    const Outcome o = run_program(words);
    EXPECT_EQ(o.code, 3) << words[0] << o.err;
    EXPECT_TRUE(contains(o.err, "real/bad.jpg")) << words[0] << o.err;
    EXPECT_TRUE(contains(o.err, "pictures could not be read")) << words[0] << o.err;
    EXPECT_EQ(fs::exists(file), words[0] != "compare") << words[0];
    EXPECT_TRUE(contains(o.out, "AUC")) << words[0] << o.out;
  }
}

TEST(AccuracyCli, AnswersMayBeUnsure) {
  const std::string run = trained_run().string(), pictures = picture_set() + "/test";
  const auto verdicts = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"predict", "--model", run, "--format", "json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.push_back(pictures);
    const Outcome o = run_program(arguments);
    EXPECT_EQ(o.code, 0) << o.err;
    return nlohmann::json::parse(o.out).at("results");
  };
  const nlohmann::json plain = verdicts({}), stable = verdicts({"--stability"});
  ASSERT_EQ(plain.size(), stable.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const nlohmann::json& s = stable.at(i);
    // The same numbers by another batch size.
    EXPECT_NEAR(s.at("prob_fake").get<double>(), plain.at(i).at("prob_fake").get<double>(),
                tolerance<float>(1000, 1));
    EXPECT_LE(s.at("prob_low"), s.at("prob_fake"));
    EXPECT_GE(s.at("prob_high"), s.at("prob_fake"));
    const double threshold = load_detector(run).threshold;
    const bool flips = (s.at("prob_low").get<double>() >= threshold) !=
                       (s.at("prob_high").get<double>() >= threshold);
    EXPECT_EQ(s.at("verdict") == "unsure", flips);
  }
  const Outcome table = run_program({"predict", "--model", run, "--stability", pictures});
  EXPECT_TRUE(contains(table.out, "from")) << table.out;
  const Outcome csv =
      run_program({"predict", "--model", run, "--stability", "--format", "csv", pictures});
  EXPECT_EQ(
      parse_csv(csv.out).front(),
      (std::vector<std::string>{"path", "prob_fake", "verdict", "prob_low", "prob_high", "error"}));
}

TEST(AccuracyCli, TheBandThatEvalChoosesIsWhatPredictAndReportSay) {
  const ScratchFolder scratch;
  const std::string model = (scratch.path() / "model.safetensors").string();
  const std::string out = (scratch.path() / "out").string();
  fs::copy(trained_run() / kBestModel, model);
  const auto eval = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"eval", "--model", model, "--data", picture_set()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  };
  EXPECT_EQ(eval({"--unsure-errors", ".2"}).code, 2);  // of which pictures?
  EXPECT_EQ(eval({"--split", "valid", "--unsure-errors", ".2", "--threshold", ".5"}).code, 2);
  EXPECT_FALSE(load_detector(model).unsure);
  // One wrong answer more than this accepts: at the far end of the worse half.
  const Outcome chosen = eval({"--split", "valid", "--unsure-errors", ".34", "--output", out});
  ASSERT_EQ(chosen.code, 0) << chosen.err;
  EXPECT_TRUE(contains(chosen.out, "Unsure, with prob_fake between")) << chosen.out;
  const Model with_band = load_detector(model);
  ASSERT_TRUE(with_band.unsure);
  const nlohmann::json count = json_of(fs::path(out) / "metrics.json").at("unsure");
  EXPECT_EQ(count.at("from"), with_band.unsure->from);
  EXPECT_LE(count.at("wrong_of_sure").get<double>(), .34 * count.at("sure").get<double>());
  EXPECT_TRUE(contains(slurp(fs::path(out) / "report.html"), "Unsure is what lies between"));
  const auto answers = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"predict",  "--model", model,
                                          "--format", "json",    picture_set() + "/valid"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome o = run_program(arguments);
    EXPECT_EQ(o.code, 0) << o.err;
    return nlohmann::json::parse(o.out).at("results");
  };
  Index unsure = 0;
  for (const nlohmann::json& r : answers({})) {
    EXPECT_EQ(r.at("verdict") == "unsure", with_band.unsure->holds(r.at("prob_fake")));
    unsure += r.at("verdict") == "unsure" ? 1 : 0;
  }
  EXPECT_EQ(unsure, count.at("unsure"));
  // The band belongs to the model's own threshold.
  for (const nlohmann::json& r : answers({"--threshold", ".5"}))
    EXPECT_NE(r.at("verdict"), "unsure");
}

// The surest answer is wrong, whatever the model: both classes hold the same pictures.
TEST(AccuracyCli, WithoutABandTheFiguresAreStillWritten) {
  const ScratchFolder scratch;
  fs::create_directories(scratch.path() / "set/valid");
  for (const char* name : {"real", "fake"})
    fs::copy(picture_set() + "/test/real", scratch.path() / "set/valid" / name);
  const fs::path model = scratch.path() / "model.safetensors", out = scratch.path() / "out";
  fs::copy(model_file(), model);
  const std::string before = slurp(model);
  const auto eval = [&](const char* errors) {
    return run_program({"eval", "--model", model.string(), "--data", scratch.path() / "set",
                        "--split", "valid", "--unsure-errors", errors, "--output", out.string()});
  };
  const Outcome wrong = eval("1");
  EXPECT_EQ(wrong.code, 2) << wrong.err;
  EXPECT_EQ(wrong.out, "");
  EXPECT_FALSE(fs::exists(out));
  const Outcome none = eval("0.1");
  EXPECT_EQ(none.code, 1) << none.err;
  EXPECT_TRUE(contains(none.err, "--unsure-errors 0.1: so few errors are nowhere")) << none.err;
  for (const char* file : {"metrics.json", "predictions.csv", "report.html"})
    EXPECT_TRUE(fs::exists(out / file)) << file;
  EXPECT_EQ(slurp(model), before);
}

TEST(AccuracyCli, RunsBecomeOneModel) {
  const ScratchFolder scratch;
  std::vector<std::string> runs;
  for (const char* seed : {"1", "2"}) {
    runs.push_back((scratch.path() / seed).string());
    const Outcome o = run_program({"train", "--data", picture_set(), "--weights",
                                   trained_run().string() + "/best.safetensors", "--output",
                                   runs.back(), "--epochs", "1", "--head-epochs", "0", "--seed",
                                   seed, "--batch-size", "8", "--threads", "1"});
    ASSERT_EQ(o.code, 0) << o.err;
  }
  for (const bool ensemble : {false, true}) {
    const std::string file =
        (scratch.path() / (ensemble ? "e.safetensors" : "m.safetensors")).string();
    std::vector<std::string> arguments = {"average", runs[0], runs[1], "--output", file};
    if (ensemble) arguments.push_back("--ensemble");
    const Outcome o = run_program(arguments);
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(run_program({"eval", "--model", file, "--data", picture_set()}).code, 0);
    EXPECT_EQ(run_program({"predict", "--model", file, picture_set() + "/test"}).code, 0);
    EXPECT_EQ(run_program({"explain", "--model", file, "--output", (scratch.path() / "x").string(),
                           picture_set() + "/test"})
                  .code,
              0);
  }
  // The mean of a run and itself is that run, batch norm statistics included.
  const std::string same = (scratch.path() / "same.safetensors").string();
  ASSERT_EQ(run_program({"average", runs[0], runs[0], "--output", same}).code, 0);
  const Model mean = load_detector(same), run = load_detector(runs[0]);
  for (int i = 0; i < std::ssize(run.parameters.specs()); ++i)
    EXPECT_EQ(mean.parameters.get(i), run.parameters.get(i))
        << run.parameters.specs()[static_cast<std::size_t>(i)].name;
  const Outcome other = run_program(
      {"average", runs[0], trained_run().string(), "--output", scratch.path() / "no.safetensors"});
  EXPECT_EQ(other.code, 2) << other.err;
  EXPECT_TRUE(contains(other.err, "--ensemble")) << other.err;
}

TEST(AccuracyCli, AblateNamesARunAlikeBeforeAndAfterIt) {
  const ScratchFolder scratch;
  const Outcome o = run_program({"ablate", "--data", picture_set(), "--weights", model_file(),
                                 "--output", scratch.path().string(), "--rungs", "seed", "--folds",
                                 "2", "--seeds", "1", "--epochs", "1", "--threads", "1"});
  ASSERT_EQ(o.code, 0) << o.err;
  for (const char* name : {"seed recipe, seed 0, fold 1", "seed recipe, seed 0, fold 2"}) {
    EXPECT_TRUE(contains(o.out, std::string(name) + "\n")) << o.out;
    EXPECT_TRUE(contains(o.out, std::string(name) + ": test accuracy")) << o.out;
  }
  EXPECT_TRUE(contains(o.out, "(least to greatest) over runs")) << o.out;
  EXPECT_TRUE(contains(slurp(scratch.path() / "ablation.svg"), "mean and range over runs"));
}

TEST(AccuracyCli, AblateOfASetWithoutSplitsNamesFolds) {
  const ScratchFolder scratch;
  const std::string flat = picture_set() + "/train";
  const auto ablate = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {
        "ablate",    "--data", flat, "--weights", model_file(), "--output", scratch.path() / "o",
        "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  };
  const Outcome o = ablate({});
  EXPECT_EQ(o.code, 2) << o.err;
  EXPECT_TRUE(contains(o.err, "--folds N")) << o.err;
  EXPECT_FALSE(contains(o.err, "--split") || contains(o.err, "--fractions")) << o.err;
  const Outcome folds =
      ablate({"--folds", "2", "--seeds", "1", "--epochs", "1", "--rungs", "seed"});
  EXPECT_EQ(folds.code, 0) << folds.err;
}

TEST(AccuracyCli, AStudentLearnsFromTeachers) {
  const ScratchFolder scratch;
  const Outcome o =
      run_program(train_arguments(scratch.path() / "student", {"--teacher", trained_run().string(),
                                                               "--teacher-temperature", "2"}));
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(json_of(scratch.path() / "student" / kArguments).at("teacher_temperature"), 2);
  const Outcome wrong =
      run_program({"train", "--data", picture_set(), "--output", (scratch.path() / "no").string(),
                   "--width", "0.1", "--img-size", "128", "--teacher", trained_run().string()});
  EXPECT_EQ(wrong.code, 2) << wrong.err;
  EXPECT_TRUE(contains(wrong.err, "96 x 96")) << wrong.err;
}

}  // namespace
}  // namespace dfengine::test
