// dfengine info on files that lack something, and "imagenet" wherever weights are taken.
#include <gtest/gtest.h>

#include "engine/model/unfold.h"
#include "tests/apps/cli_support.h"
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
