// dfengine quantize, and what takes its file and what refuses it.
#include <gtest/gtest.h>

#include "engine/tables/metadata/metadata_model.h"
#include "tests/apps/cli_support.h"

namespace dfengine::test {
namespace {

TEST(QuantizeCli, TheFileIsAModelLikeAny) {
  const ScratchFolder scratch;
  const std::string file = (scratch.path() / "q.safetensors").string();
  const std::string run = trained_run().string();
  const Outcome made = run_program({"quantize", "--model", run, "--output", file});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_TRUE(contains(made.out, ", taken")) << made.out;
  const Outcome info = run_program({"info", file});
  EXPECT_TRUE(contains(info.out, "quantized: 52 convolutions")) << info.out;
  EXPECT_FALSE(contains(info.out, "features.0.0:")) << info.out;

  const Outcome predict =
      run_program({"predict", "--model", file, "--format", "json", picture_set() + "/valid"});
  EXPECT_EQ(predict.code, 0) << predict.err;
  const Outcome eval = run_program({"eval", "--model", file, "--data", picture_set(), "--split",
                                    "test", "--output", (scratch.path() / "e").string()});
  EXPECT_EQ(eval.code, 0) << eval.err;
  const std::string onnx = (scratch.path() / "q.onnx").string();
  EXPECT_EQ(run_program({"convert", file, onnx}).code, 0);
}

HybridModel some_hybrid() {
  const CsvTable table = dfengine::parse_csv("score,path\n1,a\n2,b\n3,c\n4,d\n", "t");
  return {2, fit_metadata(table, {0, 0, 1, 1}, {"score"}, "t")};
}

// The run's own model with a threshold, a temperature and a band that fit nothing.
TEST(QuantizeCli, ARunFitsTheThresholdAnewUnlessPicturesAreNamed) {
  const ScratchFolder scratch;
  const fs::path run = scratch.path() / "run";
  fs::copy(trained_run(), run);
  Model model = load_detector(run / "best.safetensors");
  constexpr double kThreshold = 0.96875, kTemperature = 64;
  model.threshold = kThreshold;
  model.temperature = kTemperature;
  model.unsure = UnsureBand{0.5, 0.984375};
  model.notes[kHybridEntry] = to_note(some_hybrid());
  save_model(run / "best.safetensors", model);
  const std::string file = (scratch.path() / "q.safetensors").string();
  const Outcome made = run_program({"quantize", "--model", run.string(), "--output", file});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_TRUE(contains(made.out, "validation AUC")) << made.out;
  const Model fitted = load_detector(file);
  EXPECT_NE(fitted.threshold, kThreshold);
  EXPECT_NE(fitted.temperature, kTemperature);
  EXPECT_FALSE(fitted.unsure);
  const auto image_weight = [&](const Model& of) {
    return read_table_models(of.notes, file).hybrid.value().image_weight;
  };
  // Of the logits themselves it is the same.
  EXPECT_DOUBLE_EQ(image_weight(fitted) / fitted.temperature, 2 / kTemperature);

  const Outcome named = run_program({"quantize", "--model", run.string(), "--calibrate",
                                     picture_set() + "/train", "--output", file});
  ASSERT_EQ(named.code, 0) << named.err;
  const Model stays = load_detector(file);
  EXPECT_EQ(stays.threshold, kThreshold);
  EXPECT_EQ(stays.temperature, kTemperature);
  EXPECT_EQ(image_weight(stays), 2);
  EXPECT_FALSE(stays.unsure) << "a band of the float model's answers";
}

TEST(QuantizeCli, ALabelledSetFitsTheThresholdAnew) {
  const ScratchFolder scratch;
  const std::string file = (scratch.path() / "q.safetensors").string();
  const Outcome made =
      run_program({"quantize", "--model", model_file(), "--data", picture_set(), "--output", file});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_TRUE(contains(made.out, "validation AUC")) << made.out;
}

TEST(QuantizeCli, RefusesWhatItCannotDo) {
  const ScratchFolder scratch;
  const std::string file = (scratch.path() / "q.safetensors").string();
  const std::string again = (scratch.path() / "again.safetensors").string();
  const Outcome nothing = run_program({"quantize", "--model", model_file(), "--output", file});
  EXPECT_EQ(nothing.code, 2);
  EXPECT_TRUE(contains(nothing.err, "--calibrate")) << nothing.err;
  ASSERT_EQ(run_program({"quantize", "--model", model_file(), "--calibrate", picture_set(),
                         "--output", file})
                .code,
            0);
  const std::vector<std::vector<std::string>> refused = {
      {"quantize", "--model", file, "--calibrate", picture_set(), "--output", again},
      {"explain", "--model", file, picture_set() + "/valid", "--output", again},
      {"predict", "--model", file, picture_set() + "/valid", "--precision", "bf16"},
      {"train", "--data", picture_set(), "--weights", file, "--output", again, "--no-progress"}};
  for (const auto& arguments : refused) {
    const Outcome o = run_program(arguments);
    EXPECT_EQ(o.code, 2) << arguments[0];
    const bool named = contains(o.err, "quantized model") || contains(o.err, "bf16");
    EXPECT_TRUE(named) << o.err;
  }
}

}  // namespace
}  // namespace dfengine::test
