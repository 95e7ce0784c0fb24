// What people look at: reports of train and eval, compare, explain.
#include <gtest/gtest.h>

#include "engine/data/pictures/image.h"
#include "engine/report/report.h"
#include "tests/apps/cli_support.h"
#include "tests/engine/report/report_support.h"

namespace dfengine {
namespace {

using test::contains;
using test::model_file;
using test::Outcome;
using test::picture_set;
using test::run_program;
using test::ScratchFolder;
using test::slurp;
using test::trained_run;

void expect_page(const std::string& html, const std::vector<std::string>& parts) {
  EXPECT_EQ(report::MarkupCheck(html).run(), "");
  for (const std::string& part : parts) EXPECT_TRUE(contains(html, part)) << part;
}

void expect_charts(const std::filesystem::path& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const std::string svg = slurp(folder / (name + ".svg"));
    EXPECT_EQ(report::MarkupCheck(svg).run(), "") << name;
    EXPECT_TRUE(contains(svg, "<style>")) << name;
  }
}

TEST(Report, OfARunHasItsCourseItsFiguresAndItsArguments) {
  expect_page(
      slurp(trained_run() / report::kReport),
      {"Learning rate", "ROC", "Reliability", "balanced accuracy", "Environment", "instruction set",
       "data digest", "batch_size", "<pre tabindex=\"0\">", "--width 0.1"});
  expect_charts(trained_run() / report::kCharts,
                {"loss", "accuracy", "auc", "learning_rate", "roc", "precision_recall",
                 "reliability", "scores", "confusion_0.5", "confusion_0.5_shares"});
}

TEST(Report, OfAnEvaluationShowsItsMistakes) {
  const ScratchFolder scratch;
  // A threshold of 0 calls everything fake: every real is a mistake.
  Model model = load_model(model_file());
  model.threshold = 0;
  const std::filesystem::path file = scratch.path() / "all 'fake'.safetensors";
  save_model(file, model);
  const Outcome o = run_program({"eval", "--model", file.string(), "--data", picture_set(),
                                 "--output", scratch.path().string()});
  ASSERT_EQ(o.code, 0) << o.err;
  const std::string html = slurp(scratch.path() / report::kReport);
  expect_page(html, {"Real, called fake", "data:image/jpeg;base64,/9j/", "test/real/00038.jpg",
                     // The command line as a shell takes it, escaped.
                     "all &#39;\\&#39;&#39;fake&#39;\\&#39;&#39;.safetensors"});
  EXPECT_FALSE(contains(html, "Fake, called real"));
  expect_charts(scratch.path() / report::kCharts, {"roc", "confusion_0", "confusion_0.5"});
}

TEST(Compare, PrintsOneTableAndWritesOnePage) {
  const ScratchFolder scratch;
  const std::string run = trained_run().string();
  const Outcome o = run_program({"compare", run, run, "--output", scratch.path().string()});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "run (2)")) << o.out;
  EXPECT_TRUE(contains(o.out, "ROC-AUC")) << o.out;
  expect_page(slurp(scratch.path() / "compare.html"), {"Validation: Loss", "run (2)"});
  expect_charts(scratch.path() / report::kCharts, {"loss", "accuracy", "auc"});
  EXPECT_EQ(run_program({"compare", picture_set()}).code, 3);
}

TEST(Explain, WritesAnOverlayForEachPictureAndSaysWhatOf) {
  const ScratchFolder scratch;
  const std::string out = (scratch.path() / "maps").string();
  const Outcome o =
      run_program({"explain", "--model", model_file(), "--output", out, picture_set() + "/test"});
  ASSERT_EQ(o.code, 0) << o.err;
  Index pictures = 0;
  for (const auto& entry : std::filesystem::directory_iterator(out)) {
    const Image image = decode_image(entry.path());
    EXPECT_EQ(image.h, 96);
    EXPECT_EQ(image.w, 96);
    EXPECT_TRUE(contains(o.out, entry.path().filename().string()));
    ++pictures;
  }
  EXPECT_EQ(pictures, 4);
}

TEST(Explain, ForcedClassesDifferAndSharedNamesStayApart) {
  const ScratchFolder scratch;
  const std::string picture = picture_set() + "/test/real/00038.jpg";
  for (const char* kind : {"fake", "real"}) {
    const Outcome o =
        run_program({"explain", "--model", model_file(), "--output",
                     (scratch.path() / kind).string(), "--class", kind, picture, picture});
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_TRUE(contains(o.out, std::string("  ") + kind + "  ")) << o.out;
    EXPECT_EQ(slurp(scratch.path() / kind / "00038.png"),
              slurp(scratch.path() / kind / "00038-2.png"));
  }
  EXPECT_NE(slurp(scratch.path() / "fake/00038.png"), slurp(scratch.path() / "real/00038.png"));
}

TEST(Explain, UnreadablePicturesAreNamedAndTheOthersDone) {
  const ScratchFolder scratch;
  const std::string bad = (scratch.path() / "bad.jpg").string();
  test::spill(bad, "no picture");
  const Outcome o =
      run_program({"explain", "--model", model_file(), "--output", (scratch.path() / "o").string(),
                   bad, picture_set() + "/test/real"});
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(contains(o.err, bad)) << o.err;
  EXPECT_TRUE(std::filesystem::exists(scratch.path() / "o/00038.png"));
}

}  // namespace
}  // namespace dfengine
