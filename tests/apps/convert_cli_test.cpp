// dfengine convert --unfold-bn, and train's warning that names it.
#include <gtest/gtest.h>

#include "engine/model/unfold.h"
#include "tests/apps/cli_support.h"

namespace dfengine::test {
namespace {

// A model as an .onnx gives it.
std::string folded_file() {
  static const std::string path = [] {
    const fs::path file = shared_folder() / "folded.safetensors";
    Model model = make_model(small_config(), 4);
    model.notes[kBnFolded] = "yes";
    save_model(file, model);
    return file.string();
  }();
  return path;
}

std::vector<std::string> unfold_arguments(const std::string& in, const fs::path& out,
                                          const std::string& pictures) {
  return {"convert", in, out.string(), "--unfold-bn", "--calibrate", pictures, "--threads", "1"};
}

std::vector<std::string> train_on(const std::string& weights, const fs::path& output) {
  return {"train",
          "--data",
          picture_set(),
          "--weights",
          weights,
          "--output",
          output.string(),
          "--epochs",
          "2",
          "--head-epochs",
          "1",
          "--batch-size",
          "16",
          "--no-progress",
          "--threads",
          "1"};
}

TEST(ConvertCli, WarningOfAFoldedBaseNamesTheCommandThatMendsIt) {
  const ScratchFolder folder;
  const Outcome folded = run_program(train_on(folded_file(), folder.path() / "a"));
  EXPECT_EQ(folded.code, 0) << folded.err;
  EXPECT_TRUE(contains(folded.err, "dfengine convert " + folded_file() +
                                       " OUT.safetensors --unfold-bn --calibrate DIR"))
      << folded.err;

  const fs::path mended = folder.path() / "mended.safetensors";
  const Outcome convert = run_program(unfold_arguments(folded_file(), mended, picture_set()));
  ASSERT_EQ(convert.code, 0) << convert.err;
  EXPECT_TRUE(contains(convert.out, "statistics of 40 pictures")) << convert.out;
  const Outcome trained = run_program(train_on(mended.string(), folder.path() / "b"));
  EXPECT_EQ(trained.code, 0) << trained.err;
  EXPECT_FALSE(contains(trained.err, "warning")) << trained.err;
}

TEST(ConvertCli, NoWarningWhereTheBaseStaysFrozen) {
  const ScratchFolder folder;
  auto arguments = train_on(folded_file(), folder.path() / "a");
  arguments.insert(arguments.end(), {"--freeze", "all"});
  const Outcome o = run_program(arguments);
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_FALSE(contains(o.err, "warning")) << o.err;
}

TEST(ConvertCli, AModelWithoutAnOriginNamesNone) {
  const ScratchFolder folder;
  const Outcome o =
      run_program({"convert", model_file(), (folder.path() / "m.safetensors").string()});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(o.out.ends_with("from " + model_file() + "\n")) << o.out;
}

TEST(ConvertCli, UnfoldRefusals) {
  const ScratchFolder folder;
  const fs::path out = folder.path() / "x.safetensors";
  const Outcome few = run_program(unfold_arguments(folded_file(), out, picture_set() + "/test"));
  EXPECT_EQ(few.code, 3);
  EXPECT_TRUE(contains(few.err, "4 pictures are too few")) << few.err;
  const Outcome whole = run_program(unfold_arguments(model_file(), out, picture_set()));
  EXPECT_EQ(whole.code, 4);
  EXPECT_TRUE(contains(whole.err, "not folded")) << whole.err;
  EXPECT_FALSE(fs::exists(out));
  const Outcome onnx =
      run_program(unfold_arguments(folded_file(), folder.path() / "x.onnx", picture_set()));
  EXPECT_EQ(onnx.code, 2) << onnx.err;
  EXPECT_EQ(run_program({"convert", folded_file(), out.string(), "--unfold-bn"}).code, 2);
  EXPECT_EQ(run_program({"convert", folded_file(), out.string(), "--calibrate", "x"}).code, 2);
}

}  // namespace
}  // namespace dfengine::test
