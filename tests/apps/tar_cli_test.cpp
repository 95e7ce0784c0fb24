// Training and evaluation from tars.
#include <algorithm>

#include "tests/apps/cli_support.h"
#include "tests/engine/data/tar_writer.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::Outcome;
using test::picture_set;
using test::run_program;
using test::ScratchFolder;
using test::slurp;

class TarCli : public testing::Test {
 protected:
  void SetUp() override {
    for (const std::string split : {"train", "valid", "test"}) {
      std::vector<std::pair<std::string, std::string>> files;
      for (const auto& entry : fs::recursive_directory_iterator(fs::path(picture_set()) / split)) {
        if (!entry.is_regular_file()) continue;
        const std::string label = entry.path().parent_path().filename().string();
        const std::string key = label + "-" + entry.path().stem().string();
        files.emplace_back(key + ".jpg", slurp(entry.path()));
        files.emplace_back(key + ".json",
                           R"({"label":")" + label + R"(","split":")" + split + "\"}");
      }
      std::ranges::sort(files);
      const std::string number = split == "train" ? "0" : split == "valid" ? "1" : "2";
      test::spill(scratch_.path() / (number + ".tar"), test::tar_of(files));
    }
  }
  std::string tars() const { return (scratch_.path() / "{0..2}.tar").string(); }
  Outcome train(const std::string& name, const std::vector<std::string>& more = {},
                const test::OnOutput& watch = {}) const {
    std::vector<std::string> words = test::train_arguments(scratch_.path() / name, more);
    *std::ranges::find(words, picture_set()) = tars();
    return run_program(words, watch);
  }
  std::string weights(const std::string& name) const {
    return slurp(scratch_.path() / name / "best.safetensors");
  }

  ScratchFolder scratch_;
};

TEST_F(TarCli, TrainsTheSameAgainAndAfterAStop) {
  const Outcome o = train("a");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "tars ")) << o.out;
  ASSERT_EQ(train("b", {"--cache", "disk"}).code, 0);
  EXPECT_EQ(weights("a"), weights("b"));
  bool sent = false;
  const Outcome stopped = train("c", {}, [&](pid_t child, const std::string& text) {
    if (!sent && contains(text, "epoch 1:")) kill(child, SIGINT);
    sent = sent || contains(text, "epoch 1:");
  });
  if (stopped.code == 130) {  // else the second epoch was faster than the signal
    const Outcome more =
        run_program({"train", "--resume", "--output", (scratch_.path() / "c").string()});
    EXPECT_EQ(more.code, 0) << more.err;
  }
  EXPECT_EQ(weights("a"), weights("c"));
  const std::string out = (scratch_.path() / "eval").string();
  const Outcome measured = run_program({"eval", "--model", (scratch_.path() / "a").string(),
                                        "--data", tars(), "--output", out, "--perturb"});
  ASSERT_EQ(measured.code, 0) << measured.err;
  const std::string unpacked = (scratch_.path() / "unpacked").string();
  ASSERT_EQ(run_program({"eval", "--model", (scratch_.path() / "a").string(), "--data",
                         picture_set(), "--output", unpacked})
                .code,
            0);
  const auto metrics = [](const std::string& folder) {
    return nlohmann::json::parse(slurp(fs::path(folder) / "metrics.json"));
  };
  EXPECT_EQ(metrics(out).at("roc_auc"), metrics(unpacked).at("roc_auc"));
  EXPECT_EQ(metrics(out).at("accuracy"), metrics(unpacked).at("accuracy"));
}

TEST_F(TarCli, FeaturesOfAFrozenBaseComeFromTars) {
  const Outcome o = train("f", {"--freeze", "all"});
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_F(TarCli, PacksAndRefusesWhatLooksAtFiles) {
  const std::string pack = (scratch_.path() / "set.dfpack").string();
  const Outcome packed = run_program({"pack", tars(), pack, "--img-size", "96"});
  EXPECT_EQ(packed.code, 0) << packed.err;
  const Outcome audit =
      run_program({"audit", "--data", tars(), "--output", (scratch_.path() / "audit").string()});
  EXPECT_EQ(audit.code, 2);
  EXPECT_TRUE(contains(audit.err, "unpack the tars")) << audit.err;
}

}  // namespace
}  // namespace dfengine
