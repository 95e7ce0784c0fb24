// dfengine predict, embed and info: what they print and write, and pictures that cannot be read.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/data/pictures/image.h"
#include "engine/data/pictures/resize.h"
#include "engine/model/predictor.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "kernels/base/sigmoid.h"
#include "kernels/cuda/context.h"
#include "tests/apps/cli_support.h"
#include "tests/support/tolerance.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

using nlohmann::json;
using test::contains;
using test::model_file;
using test::Outcome;
using test::picture_set;
using test::run_program;
using test::ScratchFolder;
using test::slurp;

// A folder of pictures with names that break careless writers, one of them unreadable.
class Pictures : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"plain.jpg", "comma, name.jpg", "quote \"q\".jpg", "new\nline.jpg",
                             "deep/\xc3\xbc.JPG"}) {
      const auto kind = good_.size() % 2 ? SynthClass::Fake : SynthClass::Real;
      const std::vector<std::uint8_t> bytes = draw_synth_jpeg(2, good_.size(), 96, kind);
      const std::filesystem::path path = folder_ / name;
      std::filesystem::create_directories(path.parent_path());
      test::spill(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      good_.push_back(path.string());
    }
    std::ranges::sort(good_, {}, [](const std::string& s) { return std::filesystem::path(s); });
  }

  void break_one() {
    bad_ = (folder_ / "broken, \"too\".jpg").string();
    test::spill(bad_, slurp(good_[0]).substr(0, 300));
  }

  // Outputs of the model for each good picture, alone.
  std::vector<std::vector<float>> from_library(Predictor::Output output) const {
    const Model model = load_model(model_file());
    ThreadPool pool(1);
    const CpuBackend backend(pool);
    Predictor predictor(model, backend, output);
    std::vector<std::vector<float>> rows;
    std::vector<std::uint8_t> pixels(96 * 96 * 3);
    Resizer resizer;
    for (const std::string& path : good_) {
      prepare_image(decode_image(path), Crop::None, 96, resizer, pixels.data());
      rows.emplace_back(static_cast<std::size_t>(predictor.width()));
      predictor.run(pixels.data(), 1, rows.back().data());
    }
    return rows;
  }

  // The model's temperature is 0.25, its threshold 0.4375.
  std::vector<double> probabilities() const {
    std::vector<double> all;
    for (const auto& row : from_library(Predictor::Output::Logits))
      all.push_back(sigmoid(row[0] / 0.25));
    return all;
  }

  ScratchFolder scratch_;
  std::filesystem::path folder_ = scratch_.path() / "pictures";
  std::vector<std::string> good_;
  std::string bad_;
};

TEST_F(Pictures, PredictTableHasALineForEach) {
  const Outcome o = run_program({"predict", "--model", model_file(), folder_.string()});
  EXPECT_EQ(o.code, 0) << o.err;
  for (const std::string& path : good_) EXPECT_TRUE(contains(o.out, path)) << path;
  EXPECT_EQ(o.err, "");
}

TEST_F(Pictures, PredictCsvIsWellFormedAndRight) {
  const Outcome o =
      run_program({"predict", "--model", model_file(), "--format", "csv", folder_.string()});
  ASSERT_EQ(o.code, 0) << o.err;
  const auto rows = test::parse_csv(o.out);
  ASSERT_EQ(rows.size(), good_.size() + 1);
  EXPECT_EQ(rows[0], (std::vector<std::string>{"path", "prob_fake", "verdict", "error"}));
  const std::vector<double> expected = probabilities();
  for (std::size_t i = 0; i < good_.size(); ++i) {
    ASSERT_EQ(rows[i + 1].size(), 4U);
    EXPECT_EQ(rows[i + 1][0], good_[i]);
    const double prob = std::stod(rows[i + 1][1]);
    EXPECT_NEAR(prob, expected[i], test::decimal_tolerance(8, 1));
    EXPECT_EQ(rows[i + 1][2], prob >= 0.4375 ? "fake" : "real");
    EXPECT_EQ(rows[i + 1][3], "");
  }
}

TEST_F(Pictures, PredictJsonIsWellFormedAndRight) {
  const Outcome o =
      run_program({"predict", "--model", model_file(), "--format", "json", folder_.string()});
  ASSERT_EQ(o.code, 0) << o.err;
  const json report = json::parse(o.out);
  EXPECT_EQ(report.at("positive_class"), "fake");
  EXPECT_EQ(report.at("threshold"), 0.4375);
  const json& results = report.at("results");
  ASSERT_EQ(results.size(), good_.size());
  const std::vector<double> expected = probabilities();
  for (std::size_t i = 0; i < good_.size(); ++i) {
    EXPECT_EQ(results[i].at("path"), good_[i]);
    EXPECT_EQ(results[i].at("prob_fake"), expected[i]);
    EXPECT_EQ(results[i].at("verdict"), expected[i] >= 0.4375 ? "fake" : "real");
  }
}

TEST_F(Pictures, PredictCallsFakeFromTheThresholdGiven) {
  std::vector<double> expected = probabilities();
  std::ranges::sort(expected);
  ASSERT_LT(expected.front(), expected.back());
  const Outcome o =
      run_program({"predict", "--model", model_file(), "--format", "json", "--threshold",
                   std::to_string(expected.back() - 1e-6), folder_.string()});
  ASSERT_EQ(o.code, 0) << o.err;
  int fakes = 0;
  const json report = json::parse(o.out);
  for (const json& r : report.at("results")) fakes += r.at("verdict") == "fake";
  EXPECT_EQ(fakes, std::ranges::count(expected, expected.back()));
}

TEST_F(Pictures, ABrokenOneIsReportedAndCountedAndTheRestGoOn) {
  break_one();
  for (const std::string format : {"table", "csv", "json"}) {
    const Outcome o =
        run_program({"predict", "--model", model_file(), "--format", format, folder_.string()});
    EXPECT_EQ(o.code, 3) << format;
    EXPECT_TRUE(contains(o.err, bad_)) << o.err;
    EXPECT_TRUE(contains(o.err, "1 of 6 pictures")) << o.err;
    if (format == "table") {
      for (const std::string& path : good_) EXPECT_TRUE(contains(o.out, path)) << path;
    } else if (format == "csv") {
      const auto rows = test::parse_csv(o.out);
      ASSERT_EQ(rows.size(), 7U);
      const auto found = std::ranges::find(rows, bad_, [](const auto& row) { return row[0]; });
      ASSERT_NE(found, rows.end());
      ASSERT_EQ(found->size(), 4U);
      EXPECT_EQ((*found)[1], "");
      EXPECT_TRUE(contains((*found)[3], bad_));
    } else {
      const json results = json::parse(o.out).at("results");
      ASSERT_EQ(results.size(), 6U);
      for (const json& r : results)
        EXPECT_EQ(r.contains("error"), r.at("path") == bad_) << r.dump();
    }
  }
}

TEST_F(Pictures, FilesThatAreNotThereAreReportedAndCounted) {
  const std::string missing = (folder_ / "missing.jpg").string(), long_name(5000, 'x');
  const std::string below = good_[0] + "/below.jpg";
  const Outcome o = run_program(
      {"predict", "--model", model_file(), missing, good_[0], long_name, below, good_[1]});
  EXPECT_EQ(o.code, 3) << o.err;
  EXPECT_TRUE(contains(o.err, "3 of 5 pictures")) << o.err;
  for (const std::string& path : {missing, long_name, below}) EXPECT_TRUE(contains(o.err, path));
  for (const std::string& path : {good_[0], good_[1]}) EXPECT_TRUE(contains(o.out, path));
}

TEST_F(Pictures, AddressesAndStandardInputAreNoFiles) {
  const Outcome address = run_program(
      {"predict", "--model", test::model_file(), "--threads", "1", "https://example.org/a.jpg"});
  EXPECT_EQ(address.code, 3);
  EXPECT_TRUE(contains(address.err, "is not fetched, download it first")) << address.err;
  const Outcome input = run_program({"predict", "--model", test::model_file(), "-"});
  EXPECT_EQ(input.code, 2);
  EXPECT_TRUE(contains(input.err, "--input -")) << input.err;
}

TEST_F(Pictures, PredictTakesNamesThatAreNotUtf8) {
  const std::string odd = (folder_ / "\xff\xfe.jpg").string();
  std::filesystem::copy(good_[0], odd);
  const Outcome o = run_program({"predict", "--model", model_file(), "--format", "json", odd});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(json::parse(o.out).at("results").size(), 1U);
}

TEST_F(Pictures, EmbedWritesOneRowForEachInOrder) {
  for (const std::string layer : {"pooled", "logits"}) {
    const std::filesystem::path file = scratch_.path() / (layer + ".safetensors");
    // Given in another order than a folder's, one of them twice.
    std::vector<std::size_t> order = {2, 0, 4, 2, 1, 3};
    std::vector<std::string> arguments = {"embed",  "--model", model_file(), "--layer",    layer,
                                          "--crop", "none",    "--output",   file.string()};
    for (std::size_t i : order) arguments.push_back(good_[i]);
    const Outcome o = run_program(arguments);
    ASSERT_EQ(o.code, 0) << o.err;
    const weights::TensorFile f = weights::read_safetensors(file);
    ASSERT_EQ(f.tensors.size(), 1U);
    EXPECT_EQ(f.tensors[0].name, layer);
    const auto rows =
        from_library(layer == "pooled" ? Predictor::Output::Pooled : Predictor::Output::Logits);
    const auto width = static_cast<std::int64_t>(rows[0].size());
    EXPECT_EQ(width, layer == "pooled" ? 1280 : 1);
    EXPECT_EQ(f.tensors[0].shape, (std::vector<std::int64_t>{6, width}));
    const std::vector<float> values = weights::to_float(f.tensors[0]);
    for (std::size_t r = 0; r < order.size(); ++r)
      for (std::size_t c = 0; c < rows[0].size(); ++c)
        ASSERT_EQ(values[r * rows[0].size() + c], rows[order[r]][c]) << "row " << r;
  }
}

TEST_F(Pictures, EmbedRefusesToLeaveARowOut) {
  break_one();
  const std::filesystem::path file = scratch_.path() / "rows.safetensors";
  const Outcome o =
      run_program({"embed", "--model", model_file(), "--output", file.string(), folder_.string()});
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(contains(o.err, bad_)) << o.err;
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(Pictures, EmbedCropsTheMiddleWhenAsked) {
  const auto embed = [&](const char* crop) {
    const std::filesystem::path file = scratch_.path() / (std::string(crop) + ".safetensors");
    const Outcome o = run_program(
        {"embed", "--model", model_file(), "--crop", crop, "--output", file.string(), good_[0]});
    EXPECT_EQ(o.code, 0) << o.err;
    return weights::to_float(weights::read_safetensors(file).tensors.at(0));
  };
  EXPECT_NE(embed("none"), embed("center"));
}

TEST(InfoCommand, TellsArchitectureParametersAndMetadata) {
  const Outcome o = run_program({"info", model_file()});
  ASSERT_EQ(o.code, 0) << o.err;
  Index learned = 0;
  const Model model = load_model(model_file());
  for (const ParamSpec& p : model.parameters.specs())
    if (is_learned(p.role)) learned += p.count();
  for (const std::string& text :
       {std::string("mobilenet_v2"), std::to_string(learned) + " learned",
        std::string("width_mult: 0.1"), std::string("input_size: 96"),
        std::string("classes: real,fake"), std::string("positive_class: fake"),
        std::string("threshold: 0.4375"), std::string("head: detector"),
        std::string("missing: nothing")})
    EXPECT_TRUE(contains(o.out, text)) << text << "\n" << o.out;
}

TEST(InfoCommand, ThePlanAsTextForInferenceAndTraining) {
  const Outcome infer = run_program({"info", model_file(), "--plan"});
  ASSERT_EQ(infer.code, 0) << infer.err;
  EXPECT_TRUE(contains(infer.out, "head.fc2"));
  EXPECT_TRUE(contains(infer.out, "arena"));
  EXPECT_FALSE(contains(infer.out, "backward"));
  const Outcome all =
      run_program({"info", model_file(), "--plan", "--phase", "train", "--batch-size", "3"});
  ASSERT_EQ(all.code, 0) << all.err;
  const Outcome cut = run_program(
      {"info", model_file(), "--plan", "--phase", "train", "--batch-size", "3", "--freeze", "all"});
  ASSERT_EQ(cut.code, 0) << cut.err;
  const auto backward_steps = [](const std::string& text) {
    std::size_t n = 0;
    for (std::size_t at = text.find(" backward "); at != std::string::npos;
         at = text.find(" backward ", at + 1))
      ++n;
    return n;
  };
  EXPECT_GT(backward_steps(all.out), backward_steps(cut.out));
  EXPECT_GT(backward_steps(cut.out), 0U);
  EXPECT_TRUE(contains(all.out, "[3, "));
}

TEST(InfoCommand, ThePlanOfADeviceNamesItsKernels) {
  const std::vector<std::string> plan = {"info", model_file(), "--plan", "--device", "cuda"};
  const Outcome here = run_program(plan);
  ASSERT_EQ(here.code, 0) << here.err;
  EXPECT_TRUE(contains(here.out, cuda::available() ? "kernels timed on" : "no device here"))
      << here.out;
  std::vector<std::string> by_rule = plan;
  by_rule.push_back("--deterministic");
  const Outcome rule = run_program(by_rule);
  ASSERT_EQ(rule.code, 0) << rule.err;
  EXPECT_TRUE(contains(rule.out, "x64, by rule\n")) << rule.out;
  EXPECT_TRUE(contains(rule.out, "kernels chosen by rule\n")) << rule.out;
}

TEST(InfoCommand, ThePlanAsJsonHasWhatEachStepMoves) {
  const auto plan = [](const std::string& device) {
    const Outcome o = run_program({"info", model_file(), "--plan", "--phase", "train", "--format",
                                   "json", "--deterministic", "--device", device});
    EXPECT_EQ(o.code, 0) << o.err;
    return nlohmann::json::parse(o.out);
  };
  const auto bytes = [](const nlohmann::json& of) {
    Index sum = 0;
    for (const nlohmann::json& step : of.at("steps")) sum += step.at("bytes").get<Index>();
    return sum;
  };
  const nlohmann::json cpu = plan("cpu"), device = plan("cuda");
  EXPECT_GT(bytes(cpu), 0);
  EXPECT_EQ(cpu.at("bytes_without_fusions"), bytes(cpu));
  // Batch norms on load and moments save passes.
  EXPECT_GT(device.at("bytes_without_fusions"), bytes(device));
}

TEST(InfoCommand, ThePlanAsAGraph) {
  const Outcome o = run_program({"info", model_file(), "--plan", "--format", "dot"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(o.out.starts_with("digraph "));
  EXPECT_TRUE(o.out.ends_with("}\n"));
  EXPECT_EQ(std::ranges::count(o.out, '{'), std::ranges::count(o.out, '}'));
  EXPECT_EQ(std::ranges::count(o.out, '"') % 2, 0);
  EXPECT_TRUE(contains(o.out, "->"));
  EXPECT_FALSE(contains(o.out, "float kernels"));
}

}  // namespace
}  // namespace dfengine
