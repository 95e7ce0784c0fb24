// The program's help, its exit codes and what its errors say.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "engine/train/run_files.h"
#include "tests/apps/cli_support.h"

namespace dfengine {
namespace {

using test::contains;
using test::model_file;
using test::Outcome;
using test::picture_set;
using test::run_program;
using test::run_program_into;
using test::ScratchFolder;
using test::train_arguments;

// The commands that a page of help lists; none where a command has no commands of its own.
std::vector<std::string> commands_in(const std::string& help) {
  std::vector<std::string> commands;
  std::istringstream lines(help);
  std::string line;
  while (std::getline(lines, line) && line != "Subcommands:") {
  }
  while (std::getline(lines, line) && line.starts_with("  "))
    if (line[2] != ' ') commands.push_back(line.substr(2, line.find(' ', 2) - 2));
  return commands;
}

// Every command that the program has, as it says itself.
const std::vector<std::string>& all_commands() {
  static const std::vector<std::string> commands = commands_in(run_program({"--help"}).out);
  return commands;
}

// Help of every command that does something.
std::vector<std::string> all_help() {
  std::vector<std::string> all;
  for (const std::string& command : all_commands()) {
    const std::string help = run_program({command, "--help"}).out;
    const std::vector<std::string> parts = commands_in(help);
    if (parts.empty()) all.push_back(help);
    for (const std::string& part : parts) all.push_back(run_program({command, part, "--help"}).out);
  }
  return all;
}

// The blocks of help that say what one option or positional does.
std::vector<std::string> options_in(const std::string& help) {
  std::vector<std::string> options;
  std::istringstream lines(help);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("  ") && line[2] != ' ') {
      options.push_back(line);
      inside = true;
    } else if (inside && line.starts_with("    ")) {
      options.back() += "\n" + line;
    } else {
      inside = false;
    }
  }
  return options;
}

TEST(Usage, HelpNamesEveryCommandAndTheExitCodes) {
  const Outcome o = run_program({"--help"});
  EXPECT_EQ(o.code, 0);
  EXPECT_TRUE(contains(o.out, "Exit codes"));
  EXPECT_EQ(o.err, "");
  constexpr std::size_t kLeastCommands = 20;  // more with DFENGINE_SERVE
  EXPECT_GE(all_commands().size(), kLeastCommands) << o.out;
  for (const std::string& command : all_commands()) {
    const Outcome help = run_program({command, "--help"});
    EXPECT_EQ(help.code, 0) << command;
    EXPECT_TRUE(contains(help.out, "Usage: ")) << help.out;
    EXPECT_EQ(help.err, "") << command;
  }
}

TEST(Usage, HelpNamesTheDefaultOfEveryOptionThatTakesAValue) {
  const std::regex takes_value("^  [^ ]+ (INT|UINT|FLOAT|TEXT|\\{)[^ ]*.*");
  for (const std::string& help : all_help()) {
    std::size_t values = 0;
    for (const std::string& option : options_in(help)) {
      if (!std::regex_search(option, takes_value)) continue;
      ++values;
      EXPECT_TRUE(contains(option, "REQUIRED") || contains(option, "Default:"))
          << help.substr(0, help.find("[OPTIONS]")) << option;
    }
    EXPECT_GE(values, 1U) << help;
  }
}

// A set in which a folder cannot be listed twice: with --on-bad fail a run ends when its settings
// are written down, and before it has computed anything.
std::string unusable_set(const std::filesystem::path& folder) {
  for (const char* classes : {"train/real", "train/fake", "valid/real", "valid/fake"}) {
    std::filesystem::create_directories(folder / classes);
    test::spill(folder / classes / "a.png", "");
  }
  std::filesystem::create_directory_symlink(folder / "train/real", folder / "train/real/again");
  return folder.string();
}

// A number of help or of JSON, as exact as help is.
std::string shown(double value) {
  return fmt::format("{:.3g}", value);
}

// What help shows for a value of args.json.
std::string shown(const nlohmann::json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "on" : "off";
  if (value.is_number()) return shown(value.get<double>());
  if (value.is_string()) return value.get<std::string>();
  std::string all;
  for (const nlohmann::json& one : value) all += (all.empty() ? "" : ",") + shown(one);
  return all;
}

TEST(Usage, TrainsHelpShowsTheDefaultsThatARunHas) {
  const ScratchFolder scratch;
  const std::filesystem::path run = scratch.path() / "run";
  ASSERT_EQ(run_program({"train", "--data", unusable_set(scratch.path() / "set"), "--output",
                         run.string(), "--on-bad", "fail"})
                .code,
            3);
  nlohmann::json args = nlohmann::json::parse(test::slurp(run / kArguments));
  args.update(args.at("augment"));
  // What words of help stand for.
  const std::map<std::string, std::string> meant = {
      {"never", "-1"},
      {"1 with --weights, else 0", "0"},
      {"that of the pictures where they are squares of 192, 224, 256, 288 or 320 pixels and "
       "neither --resize, --crop nor --recipe seed is given; else the weights' own, 224 without "
       "weights",
       "224"},
      {"--img-size", "0"},
      {"the weights' own, 2 without weights", "0"},
      {"the weights' own, bilinear without weights", "bilinear"},
      {"the weights' own, none without weights", "none"},
      {"none, random initial values", ""},
      {"none, the set is not divided", ""},
      {"none, such a table is refused", ""},
      {"the usual ones, see below", ""},
      {"1,1, which crops nothing", "1,1"},
      {"3/4,4/3", "0.75,1.33"},
      {"fp16 with cuda, fp32 on the CPU", "fp32"},
      {"8 with several processes, else whole batches", "0"},
      {"auto", "cpu"}};
  const std::set<std::string> given = {"data", "on_bad"},
                              where_none_is_empty = {"csv",          "valid_csv", "test_csv",
                                                     "group_column", "teacher",   "hold_out_group"};
  const std::regex pattern("--([a-z-]+).* Default: (.*?)(; with .*)?\\.$");
  int compared = 0;
  for (const std::string& option : options_in(run_program({"train", "--help"}).out)) {
    const std::string line = std::regex_replace(option, std::regex("\\s+"), " ");
    std::smatch found;
    if (!std::regex_search(line, found, pattern)) continue;
    const std::string key = std::regex_replace(found.str(1) == "split" ? "fractions" : found.str(1),
                                               std::regex("-"), "_");
    if (!args.contains(key) || given.contains(key)) continue;
    std::string text = found.str(2);
    if (meant.contains(text) && (text != "auto" || key == "device")) text = meant.at(text);
    if (key == "freeze" || key == "clip_grad") text = text == "none" ? "0" : text;
    if (where_none_is_empty.contains(key) && text == "none") text = "";
    const nlohmann::json number = nlohmann::json::parse(text, nullptr, false);
    EXPECT_EQ(number.is_number() ? shown(number) : text, shown(args.at(key))) << line;
    ++compared;
  }
  EXPECT_GE(compared, 55);
}

TEST(Usage, HelpIsWholeSentencesInLinesThatFitAScreen) {
  constexpr std::size_t kMostColumns = 100;
  for (const std::string& help : all_help()) {
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), kMostColumns) << line;
    EXPECT_TRUE(contains(help, "Exit codes: 0 done")) << help;
    for (const std::string& option : options_in(help))
      EXPECT_TRUE(option.ends_with('.') || contains(option, "--help")) << option;
  }
}

TEST(Usage, TrainsHelpSaysWhereARecipeHasAnotherDefault) {
  const std::string help = run_program({"train", "--help"}).out;
  for (const char* text :
       {"Default: 20; with --recipe best: 60; with --recipe seed: 10.",
        "Default: 0.0001; with --recipe seed: 0.001.", "Default: on; with --recipe seed: off.",
        "Default: none; with --recipe seed: all.", "Allowed: from 1 to 65536. Default: 32."})
    EXPECT_TRUE(contains(std::regex_replace(help, std::regex("\\s+"), " "), text)) << text;
}

TEST(Usage, VersionIsOneLineOfNumbers) {
  const Outcome o = run_program({"--version"});
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(o.out.find_first_not_of("0123456789.\n"), std::string::npos) << o.out;
  EXPECT_TRUE(contains(o.out, "."));
}

TEST(Usage, WhatMakesNoSenseEndsWithTwo) {
  const std::vector<std::vector<std::string>> cases = {
      {},
      {"dance"},
      {"--bogus"},
      {"train"},
      {"train", "--output", "x"},  // no --data
      {"train", "--output", "x", "--data", "y", "--bogus"},
      {"train", "--output", "x", "--data", "y", "--epochs", "many"},
      {"train", "--output", "x", "--data", "y", "--epochs", "0"},
      {"train", "--output", "x", "--data", "y", "--recipe", "tuna"},
      {"train", "--output", "x", "--data", "y", "--optimizer", "sgd"},
      {"train", "--output", "x", "--data", "y", "--schedule", "square"},
      {"train", "--output", "x", "--data", "y", "--freeze", "-2"},
      {"train", "--output", "x", "--data", "y", "--threads", "-1"},
      {"train", "--output", "x", "--data", "y", "--lr", "nan"},
      {"train", "--output", "x", "--data", "y", "--weights", "w", "--width", "0.5"},
      {"eval", "--data", "x"},
      {"predict", "--model", "x"},
      {"predict", "--model", "x", "--format", "xml", "y"},
      {"embed", "--model", "x", "--output", "y", "--layer", "last", "z"},
      {"embed", "--model", "x", "--output", "y", "--crop", "left", "z"},
      {"info"},
      {"info", "x", "--format", "dot"},  // of no plan
      {"info", "x", "--plan", "--batch-size", "1000000000000"},
      {"eval", "--model", "x", "--data", "y", "--device", "tpu"},
      // These compute on the CPU alone, so that there is no device to name.
      {"explain", "--model", "x", "--output", "y", "--device", "cuda", "z"},
      {"explain", "--model", "x", "--output", "y", "--precision", "fp16", "z"},
      {"average", "x", "y", "--output", "z", "--device", "cpu"},
      {"compare", "x", "y", "--device", "cpu"},
      {"metadata", "train", "--csv", "x", "--test-csv", "y", "--output", "z", "--device", "cpu"},
      {"metadata", "eval", "--model", "x", "--csv", "y", "--threads", "1"},
      {"synth"},
      {"synth", "--output", "x", "--count", "1"},
  };
  for (const auto& arguments : cases) {
    std::string line;
    for (const std::string& a : arguments) line += a + " ";
    const Outcome o = run_program(arguments);
    EXPECT_EQ(o.code, 2) << line << "\n" << o.err;
    EXPECT_NE(o.err, "") << line;
    EXPECT_EQ(o.out, "") << line;
  }
  EXPECT_FALSE(std::filesystem::exists("x"));
  EXPECT_TRUE(
      contains(run_program({"train", "--data", "y", "--output", "x", "--recipe", "tuna"}).err,
               "finetune best robust seed"));
}

TEST(Usage, AnUnknownCommandIsNamed) {
  const Outcome o = run_program({"frobnicate", "--data", "y"});
  EXPECT_EQ(o.code, 2);
  EXPECT_TRUE(contains(o.err, "'frobnicate'")) << o.err;
  EXPECT_EQ(run_program({"--frobnicate"}).code, 2);
}

TEST(Usage, MissingDataEndsWithThreeAndNamesTheFolder) {
  const ScratchFolder scratch;
  const std::string nowhere = (scratch.path() / "nowhere").string();
  const std::string empty = (scratch.path() / "empty").string();
  std::filesystem::create_directory(empty);
  const std::string out = (scratch.path() / "run").string();
  for (const std::string& data : {nowhere, empty}) {
    for (const auto& arguments : std::vector<std::vector<std::string>>{
             {"train", "--data", data, "--output", out},
             {"eval", "--model", model_file(), "--data", data},
             {"predict", "--model", model_file(), data},
             {"embed", "--model", model_file(), "--output", out, data}}) {
      const Outcome o = run_program(arguments);
      EXPECT_EQ(o.code, 3) << arguments[0] << ": " << o.err;
      if (data == nowhere || arguments[0] == "train" || arguments[0] == "eval") {
        EXPECT_TRUE(contains(o.err, data)) << arguments[0] << ": " << o.err;
      }
      EXPECT_FALSE(std::filesystem::exists(out)) << arguments[0];
    }
  }
  const Outcome o =
      run_program({"eval", "--model", model_file(), "--data", picture_set(), "--split", "holdout"});
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(contains(o.err, "holdout")) << o.err;
}

TEST(Usage, AMissingOrDamagedModelEndsWithFourAndNamesTheFile) {
  const ScratchFolder scratch;
  const std::string whole = test::slurp(model_file());
  const auto made = [&](const char* name, const std::string& bytes) {
    test::spill(scratch.path() / name, bytes);
    return (scratch.path() / name).string();
  };
  std::string nan = whole;
  for (std::size_t i = nan.size() - std::size_t{4} * 128; i < nan.size(); ++i)
    nan[i] = '\xff';  // the end: fc2
  const std::string out = (scratch.path() / "out").string();
  const std::string missing = (scratch.path() / "missing").string();
  const std::string diverged = made("diverged", nan);
  for (const std::string& model :
       {missing, made("empty", ""), made("cut", whole.substr(0, whole.size() / 2)),
        made("text", "hello, this is no model"), made("header", std::string(8, '\xff') + "{}"),
        scratch.path().string(), diverged}) {
    std::vector<std::vector<std::string>> commands = {
        {"eval", "--model", model, "--data", picture_set()},
        {"predict", "--model", model, picture_set() + "/test"}};
    if (model != diverged) {
      commands.push_back({"embed", "--model", model, "--output", out, picture_set() + "/test"});
      commands.push_back({"info", model});
      commands.push_back({"train", "--data", picture_set(), "--output", out, "--weights", model});
    }
    for (const auto& arguments : commands) {
      const Outcome o = run_program(arguments);
      EXPECT_EQ(o.code, 4) << arguments[0] << " " << model << ": " << o.err;
      EXPECT_TRUE(contains(o.err, model)) << arguments[0] << ": " << o.err;
      EXPECT_EQ(o.out, "") << arguments[0];
    }
  }
  EXPECT_FALSE(std::filesystem::exists(out));
  const Outcome o = run_program({"train", "--resume", "--output", scratch.path().string()});
  EXPECT_EQ(o.code, 4);
  EXPECT_TRUE(contains(o.err, kCheckpoint)) << o.err;
}

TEST(Usage, ANetworkWithoutDetectorCanBeEmbeddedButNotAsked) {
  const ScratchFolder scratch;
  const std::string base = (scratch.path() / "base.safetensors").string();
  NetworkConfig config = test::small_config();
  config.head = Head::None;
  Model model = make_model(config, 0);
  model.classes.clear();
  save_model(base, model);
  const std::string pictures = picture_set() + "/test", out = (scratch.path() / "o").string();
  EXPECT_EQ(run_program({"predict", "--model", base, pictures}).code, 4);
  EXPECT_EQ(run_program({"eval", "--model", base, "--data", picture_set()}).code, 4);
  EXPECT_EQ(
      run_program({"embed", "--model", base, "--layer", "logits", "--output", out, pictures}).code,
      2);
  EXPECT_EQ(run_program({"embed", "--model", base, "--output", out, pictures}).code, 0);
}

#ifndef DFENGINE_CUDA
TEST(Usage, CudaInACpuBuildEndsWithFiveAndSaysWhatToDo) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           train_arguments("nowhere", {"--device", "cuda"}),
           {"eval", "--model", model_file(), "--data", picture_set(), "--device", "cuda"},
           {"predict", "--model", model_file(), "--device", "cuda", picture_set()},
           {"embed", "--model", model_file(), "--output", "o", "--device", "cuda", picture_set()},
           {"bench", "--device", "cuda"}}) {
    const Outcome o = run_program(arguments);
    EXPECT_EQ(o.code, 5) << arguments[0];
    EXPECT_TRUE(contains(o.err, "no CUDA in this build: rebuild with --preset cuda")) << o.err;
    EXPECT_EQ(o.out, "") << arguments[0];
  }
  for (const char* made : {"nowhere", "o"}) EXPECT_FALSE(std::filesystem::exists(made)) << made;
}
#endif

// A path below a regular file: no user, root included, can write there.
TEST(Usage, AnOutputThatCannotBeWrittenEndsWithOneAndNamesThePath) {
  const ScratchFolder scratch;
  test::spill(scratch.path() / "file", "");
  const std::string below = (scratch.path() / "file" / "run").string();
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           train_arguments(below),
           {"eval", "--model", model_file(), "--data", picture_set(), "--output", below},
           {"embed", "--model", model_file(), "--output", below, picture_set()}}) {
    const Outcome o = run_program(arguments);
    EXPECT_EQ(o.code, 1) << arguments[0] << o.err;
    EXPECT_TRUE(contains(o.err, below)) << o.err;
  }
}

TEST(Usage, AFullStandardOutputIsAFailedRun) {
  EXPECT_EQ(run_program_into("/dev/full", {"info", model_file()}), 1);
  EXPECT_EQ(
      run_program_into("/dev/full", {"predict", "--model", model_file(), picture_set() + "/test"}),
      1);
}

}  // namespace
}  // namespace dfengine
