// What a person has is kept, and what a run did not make does not stand there as if it had.
#include <cstdlib>

#include "engine/train/run_files.h"
#include "tests/apps/cli_support.h"
#include "tests/apps/resource_limit.h"

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

TEST(KeptFiles, QuickstartDoesNotReplaceWhatItIsGiven) {
  const ScratchFolder scratch;
  const fs::path script = scratch.path() / "apps/quickstart.sh",
                 out = scratch.path() / "runs/quickstart";
  fs::create_directories(script.parent_path());
  fs::create_directories(out / "mine");
  fs::copy(test::golden_folder() / "../../apps/quickstart.sh", script);
  spill(out / "mine/w.safetensors", "weights");
  fs::create_symlink(out / "mine", scratch.path() / "link");
  const auto code = [&](const std::string& arguments) {
    const std::string line = script.string() + " " + arguments + " > /dev/null 2>&1";
    return WEXITSTATUS(std::system(line.c_str()));
  };
  EXPECT_EQ(code("--data " + out.string()), 2);
  EXPECT_EQ(code("--data " + (out / "mine").string()), 2);
  EXPECT_EQ(code("--data " + (scratch.path() / "link").string()), 2);
  EXPECT_EQ(code("--weights " + (out / "mine/w.safetensors").string()), 2);
  EXPECT_TRUE(fs::exists(out / "mine/w.safetensors"));
}

TEST(KeptFiles, ExplainDoesNotDrawOverThePictures) {
  const ScratchFolder scratch;
  const fs::path picture = scratch.path() / "a.png";
  fs::copy(picture_set() + "/test/real/00038.jpg", picture);
  const std::string before = slurp(picture);
  fs::create_directory(scratch.path() / "maps");
  fs::create_symlink(picture, scratch.path() / "maps/a.png");
  for (const fs::path& folder : {scratch.path(), scratch.path() / "maps"}) {
    const Outcome o = run_program(
        {"explain", "--model", model_file(), "--output", folder.string(), picture.string()});
    EXPECT_EQ(o.code, 2) << o.err;
    EXPECT_TRUE(contains(o.err, "--output")) << o.err;
    EXPECT_EQ(slurp(picture), before);
  }
}

TEST(KeptFiles, EvalLeavesNoListOfAnEarlierRun) {
  const ScratchFolder scratch;
  const fs::path data = scratch.path() / "data", out = scratch.path() / "out";
  fs::copy(picture_set(), data, fs::copy_options::recursive);
  spill(data / "test/real/bad.jpg", "no picture");
  const auto eval = [&] {
    return run_program({"eval", "--model", model_file(), "--data", data.string(), "--output",
                        out.string(), "--threads", "1"});
  };
  EXPECT_EQ(eval().code, 3);
  EXPECT_TRUE(fs::exists(out / kBadFiles));
  EXPECT_TRUE(contains(slurp(out / "report.html"), "4 pictures, split test"));
  fs::remove(data / "test/real/bad.jpg");
  const Outcome o = eval();
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_FALSE(fs::exists(out / kBadFiles));
}

// As somebody leaves it to save space, and as a kill before the first checkpoint does.
TEST(KeptFiles, ARunWithoutItsCheckpointIsNotTrainedOver) {
  const ScratchFolder scratch;
  const fs::path run = scratch.path() / "run";
  fs::copy(test::trained_run(), run, fs::copy_options::recursive);
  fs::remove(run / kCheckpoint);
  const std::string kept = slurp(run / kBestModel);
  const auto refused = [&](const char* why) {
    const Outcome o = run_program(test::train_arguments(run, {"--smoothing", ".1"}));
    EXPECT_EQ(o.code, 2) << why << o.err;
    EXPECT_TRUE(contains(o.err, run.string()) && contains(o.err, kCheckpoint)) << o.err;
    if (fs::exists(run / kBestModel)) {
      EXPECT_EQ(slurp(run / kBestModel), kept) << why;
    }
  };
  refused("finished");
  fs::rename(run / kBestModel, scratch.path() / "moved");
  refused("figures alone");
  fs::rename(scratch.path() / "moved", run / kBestModel);
  const std::string results = slurp(run / kResults);
  const std::size_t first_row = results.find('\n', results.find('\n') + 1) + 1;
  spill(run / kResults, results.substr(0, first_row));
  fs::rename(run / kArguments, scratch.path() / "args");
  refused("somebody else's");
  fs::rename(scratch.path() / "args", run / kArguments);
  const Outcome again = run_program(test::train_arguments(run));
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(slurp(run / kBestModel), kept);
}

TEST(KeptFiles, NoEvaluationIsTrainedOver) {
  const ScratchFolder scratch;
  for (const char* name : {"metrics.json", "compare.html", "report.html"}) {
    const fs::path out = scratch.path() / name;
    fs::create_directory(out);
    spill(out / name, "figures");
    const Outcome o = run_program(test::train_arguments(out));
    EXPECT_EQ(o.code, 2) << o.err;
    EXPECT_TRUE(contains(o.err, out.string() + " already holds " + name)) << o.err;
    EXPECT_EQ(slurp(out / name), "figures");
    EXPECT_FALSE(fs::exists(out / kArguments));
  }
}

TEST(KeptFiles, EvalMakesItsFolderBeforeItMeasures) {
  const ScratchFolder scratch;
  spill(scratch.path() / "file", "");
  const Outcome o = run_program({"eval", "--model", model_file(), "--data", picture_set(),
                                 "--output", (scratch.path() / "file/out").string()});
  EXPECT_EQ(o.code, 1) << o.err;
  EXPECT_EQ(o.out, "");
}

TEST(KeptFiles, AMergeThatFailsLeavesNothing) {
  const ScratchFolder scratch;
  const fs::path out = scratch.path() / "out";
  ASSERT_EQ(run_program({"predict", "--model", model_file(), "--output", out.string(),
                         picture_set() + "/test"})
                .code,
            0);
  const auto files = [&] {
    return std::distance(fs::directory_iterator(out), fs::directory_iterator());
  };
  const auto before = files();
  {
    const test::ResourceLimit small(RLIMIT_FSIZE, 100);
    const Outcome o = run_program({"predict", "--merge", out.string()});
    EXPECT_EQ(o.code, 1) << o.err;
  }
  EXPECT_EQ(files(), before);
  // A killed process' goes, too.
  spill(out / "predictions.csv.tmp-0", "half");
  const Outcome o = run_program({"predict", "--merge", out.string()});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(files(), before + 2);
  EXPECT_EQ(test::parse_csv(slurp(out / "predictions.csv")).size(), 5u);
}

}  // namespace
}  // namespace dfengine
