// dfengine info on files that lack something, and "imagenet" wherever weights are taken.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/model/stated.h"
#include "engine/model/unfold.h"
#include "tests/apps/cli_support.h"
#include "weights/families/source.h"
#include "weights/safetensors.h"

namespace dfengine::test {
namespace {

Model without_head() {
  NetworkConfig config = small_config();
  config.head = Head::None;
  return make_model(config, 4);
}

TEST(InfoCli, SaysWhatIsMissing) {
  const ScratchFolder folder;
  const std::string path = (folder.path() / "m.safetensors").string();
  Model base = without_head();
  base.notes[kBnFolded] = "yes";
  save_model(path, base);
  const Outcome folded = run_program({"info", path});
  EXPECT_EQ(folded.code, 0) << folded.err;
  EXPECT_TRUE(contains(folded.out, "missing: a head")) << folded.out;
  EXPECT_TRUE(contains(folded.out, "missing: batch norms")) << folded.out;

  NetworkConfig config = small_config();
  config.head = Head::Classifier;
  save_model(path, make_model(config, 4));
  const Outcome classifier = run_program({"info", path});
  EXPECT_TRUE(contains(classifier.out, "missing: a detector's head")) << classifier.out;
}

TEST(InfoCli, ListsTheTensorsOfAFileThatIsNotWhole) {
  const ScratchFolder folder;
  const std::string path = (folder.path() / "m.safetensors").string();
  weights::TensorFile file = model_to_tensors(without_head());
  std::erase_if(file.tensors, [](const auto& t) { return t.name.starts_with("features.7."); });
  weights::write_safetensors(path, file);
  const Outcome o = run_program({"info", path});
  EXPECT_EQ(o.code, 4);
  for (const char* part :
       {"245 tensors", "width 0.1", "15 missing: features.7.conv.0.0.weight", "bn_eps: 1e-05"})
    EXPECT_TRUE(contains(o.out, part)) << part << "\n" << o.out;
  EXPECT_TRUE(contains(o.err, "does not fit MobileNetV2")) << o.err;
}

// A detector as others write it: it says neither what its label 1 means nor how pixels go in.
weights::TensorFile foreign_detector() {
  weights::TensorFile file = model_to_tensors(make_model(small_config(), 4));
  file.metadata = {{weights::kAssumed, "label 1 means fake\npixels from -1 to 1 go in\n"},
                   {"input_size", "96"}};
  return file;
}

TEST(ForeignModelCli, WhatIsAssumedIsSaidAndCanBeStated) {
  const ScratchFolder folder;
  const std::string foreign = (folder.path() / "theirs.safetensors").string(),
                    ours = (folder.path() / "ours.safetensors").string(),
                    picture = picture_set() + "/test";
  weights::write_safetensors(foreign, foreign_detector());
  const Outcome info = run_program({"info", foreign});
  EXPECT_EQ(info.code, 0) << info.err;
  EXPECT_TRUE(contains(info.out, "assumed: label 1 means fake; pixels from -1")) << info.out;
  const auto scores = [&](const std::string& model) {
    const Outcome o = run_program({"predict", "--model", model, "--format", "json", picture});
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(contains(o.err, "assumed: label 1 means fake"), model == foreign) << o.err;
    std::vector<double> prob;
    for (const auto& row : nlohmann::json::parse(o.out).at("results"))
      prob.push_back(row.at("prob_fake"));
    return prob;
  };
  const std::vector<double> fake = scores(foreign);
  const Outcome converted = run_program({"convert", foreign, ours, "--label-positive", "real"});
  EXPECT_EQ(converted.code, 0) << converted.err;
  EXPECT_FALSE(contains(converted.err, "label 1")) << converted.err;
  EXPECT_TRUE(contains(converted.err, "pixels from -1")) << converted.err;
  const std::vector<double> real = scores(ours);
  for (std::size_t i = 0; i < fake.size(); ++i) EXPECT_FLOAT_EQ(float(1 - fake[i]), float(real[i]));
  const Outcome again = run_program({"convert", ours, foreign, "--label-positive", "real"});
  EXPECT_EQ(again.code, 2) << again.err;
  EXPECT_TRUE(contains(again.err, "this one says all of it itself")) << again.err;
}

TEST(ForeignModelCli, AnAucBelowAHalfAsksForTheLabel) {
  const ScratchFolder folder;
  const std::string foreign = (folder.path() / "theirs.safetensors").string(),
                    turned = (folder.path() / "turned.safetensors").string();
  std::vector<bool> asked;
  for (const bool negative : {false, true}) {
    weights::TensorFile file = foreign_detector();
    if (negative) apply_stated(file, {.label_one = LabelOne::Real});
    file.metadata[weights::kAssumed] = "label 1 means fake\n";
    weights::write_safetensors(foreign, file);
    const Outcome o = run_program({"eval", "--model", foreign, "--data", picture_set(), "--output",
                                   (folder.path() / "e").string()});
    EXPECT_EQ(o.code, 0) << o.err;
    const double auc =
        nlohmann::json::parse(std::ifstream(folder.path() / "e/metrics.json")).at("roc_auc");
    asked.push_back(contains(o.err, "--label-positive real"));
    EXPECT_EQ(asked.back(), auc < 0.5) << o.err;
  }
  EXPECT_NE(asked[0], asked[1]);
}

TEST(ForeignModelCli, TrainNamesWhatItLeavesOut) {
  const ScratchFolder folder;
  const std::string foreign = (folder.path() / "theirs.safetensors").string();
  weights::TensorFile file = model_to_tensors(without_head());
  file.metadata = {{"input_size", "96"}};
  file.tensors.push_back(weights::make_tensor("fc.weight", {1}, std::vector<float>{1}));
  weights::write_safetensors(foreign, file);
  const Outcome o = run_program({"train", "--data", picture_set(), "--weights", foreign, "--output",
                                 (folder.path() / "run").string(), "--epochs", "1", "--freeze",
                                 "all", "--threads", "1"});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.err, "left out: 1 tensors: fc.weight")) << o.err;
}

TEST(ForeignModelCli, FilesThatAreNoModelSayWhatTheyAre) {
  const ScratchFolder folder;
  const auto file = folder.path() / "m.safetensors";
  const auto refused = [&](const std::string& path) {
    const Outcome predict = run_program({"predict", "--model", path, picture_set()});
    const Outcome info = run_program({"info", path});
    EXPECT_EQ(predict.code, 4) << predict.err;
    EXPECT_EQ(info.code, 4) << info.err;
    EXPECT_EQ(predict.err, info.err);
    return info.err;
  };
  spill(file, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  EXPECT_TRUE(contains(refused(file.string()), "Git LFS pointer"));
  spill(file, "<!DOCTYPE html><html></html>");
  EXPECT_TRUE(contains(refused(file.string()), "web page"));
  EXPECT_TRUE(contains(refused((trained_run() / "last.ckpt").string()), "is a checkpoint"));
  weights::TensorFile damaged = foreign_detector();
  auto& tensor = *std::ranges::find(damaged.tensors, "features.5.conv.1.1.running_var",
                                    &weights::Tensor::name);
  tensor = weights::make_tensor(tensor.name, tensor.shape,
                                std::vector<float>(std::size_t(tensor.count()), -1.0F));
  weights::write_safetensors(file, damaged);
  EXPECT_TRUE(contains(refused(file.string()), "features.5.conv.1.1.running_var"));
  const Outcome run = run_program({"info", trained_run().string()});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(contains(run.out, "best.safetensors")) << run.out;
}

TEST(InfoCli, ImagenetIsTakenFromTheCache) {
  const ScratchFolder folder;
  fs::create_directories(folder.path() / "dfengine");
  save_model(folder.path() / "dfengine/mobilenet_v2-b0353104.pth", without_head());
  setenv("XDG_CACHE_HOME", folder.path().c_str(), 1);
  const std::string out = (folder.path() / "out.safetensors").string();
  const std::vector<std::vector<std::string>> commands = {
      {"info", "imagenet"},
      {"convert", "imagenet", out},
      {"embed", "--model", "imagenet", "--output", out, picture_set() + "/test"},
      {"train", "--data", picture_set(), "--weights", "imagenet", "--output",
       (folder.path() / "run").string(), "--epochs", "1", "--freeze", "all", "--threads", "1"}};
  for (const auto& command : commands) {
    const Outcome o = run_program(command);
    EXPECT_EQ(o.code, 0) << command[0] << ": " << o.err;
  }
  unsetenv("XDG_CACHE_HOME");
  const Model trained = load_model(folder.path() / "run/best.safetensors");
  EXPECT_EQ(trained.notes.at("source_file"), "mobilenet_v2-b0353104.pth");
}

}  // namespace
}  // namespace dfengine::test
