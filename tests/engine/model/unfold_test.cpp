// Batch norms given back to a folded model: the same outputs, and the statistics of a double run.
#include "engine/model/unfold.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "engine/model/predictor.h"
#include "engine/runtime/cuda/cuda_backend.h"
#include "kernels/base/error.h"
#include "tests/engine/plan/plan_support.h"
#include "tests/support/device.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

constexpr Index kSize = 96;
constexpr Index kImageBytes = kSize * kSize * 3;
constexpr double kLayers = 52;
// The longest sum of a convolution of width 0.1: 320 channels' expansion stays below this.
constexpr double kTerms = 400;

// Batch norms as weights/onnx/source_onnx.cpp leaves them, but for one: any scale and shift is
// kept.
Model folded_model() {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = kSize;
  config.head = Head::Detector;
  Model model = make_model(config, 11);
  const auto fill = [&](const ParamSpec& p, double base, double step) {
    std::vector<float> values(static_cast<std::size_t>(p.count()));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(base + step * static_cast<double>(i % 5));
    model.parameters.set(model.parameters.find(p.name), std::span<const float>(values));
  };
  for (const ParamSpec& p : std::vector<ParamSpec>(model.parameters.specs())) {
    if (p.role == Role::RunningVar) fill(p, 1 - config.bn_eps, 0);
    if (p.role == Role::NormShift) fill(p, -0.2, 0.1);
    if (p.name == "features.3.conv.0.1.weight") fill(p, 0.8, 0.1);
    if (p.name == "features.3.conv.0.1.running_mean") fill(p, 0.3, 0.1);
  }
  model.notes[kBnFolded] = "yes";
  return model;
}

std::vector<std::uint8_t> pictures(Index n) {
  std::mt19937 random(5);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(n * kImageBytes));
  for (Index i = 0; i < n; ++i) {
    // Pictures differ in brightness, as real ones do.
    const auto bright = 60 + random() % 190;
    for (Index j = 0; j < kImageBytes; ++j)
      pixels[static_cast<std::size_t>(i * kImageBytes + j)] =
          static_cast<std::uint8_t>(random() % bright);
  }
  return pixels;
}

std::vector<float> logits_of(const Model& model, const std::vector<std::uint8_t>& pixels, Index n) {
  ThreadPool pool(1);
  std::vector<float> out(static_cast<std::size_t>(n));
  Predictor(model, CpuBackend(pool), Predictor::Output::Logits).run(pixels.data(), n, out.data());
  return out;
}

struct Statistics {
  std::vector<double> mean, variance;
};

// By the double kernels, in one batch, in two passes.
std::map<std::string, Statistics> oracle(const Model& model,
                                         const std::vector<std::uint8_t>& pixels, Index n) {
  Graph graph = model.network.graph;
  ParameterStore parameters(graph.params(), Element::F64, 0);
  for (std::size_t i = 0; i < parameters.specs().size(); ++i) {
    const auto values = model.parameters.get(model.parameters.find(parameters.specs()[i].name));
    const std::vector<double> wide(values.begin(), values.end());
    parameters.set(static_cast<int>(i), std::span<const double>(wide));
  }
  std::vector<std::string> watched;
  for (const Node& node : model.network.graph.nodes()) {
    if (!std::holds_alternative<BatchNorm>(node.operation)) continue;
    watched.push_back(node.name);
    graph.mark_output(node.inputs[0], node.name);
  }
  test::PlanRun run(graph, {{{n, kSize, kSize, 3}, Element::U8}}, {}, parameters);
  Bytes bytes(pixels.size());
  std::memcpy(bytes.data(), pixels.data(), bytes.size());
  run.forward({bytes});

  std::map<std::string, Statistics> all;
  for (const std::string& name : watched) {
    const Doubles x = run.output(name);
    const Shape& shape = run.plan().spec(run.plan().graph().output(name)).shape;
    Statistics& s = all[name];
    for (Index c = 0; c < shape.c; ++c) {
      double sum = 0, squares = 0;
      for (Index r = 0; r < shape.rows(); ++r) sum += x[at(r * shape.c + c)];
      const double mean = sum / static_cast<double>(shape.rows());
      for (Index r = 0; r < shape.rows(); ++r)
        squares += std::pow(x[at(r * shape.c + c)] - mean, 2);
      s.mean.push_back(mean);
      s.variance.push_back(squares / static_cast<double>(shape.rows() - 1));
    }
  }
  return all;
}

TEST(BatchNormUnfolder, KeepsOutputsAndSetsTheStatisticsOfADoubleRun) {
  constexpr Index kPictures = kLeastUnfoldPictures;
  Model model = folded_model();
  const auto pixels = pictures(kPictures);
  const auto expected = oracle(model, pixels, kPictures);
  const auto before = logits_of(model, pixels, kPictures);
  ThreadPool pool(2);
  const CpuBackend backend(pool);
  BatchNormUnfolder unfolder(model, backend);
  unfolder.add(pixels.data(), 10);
  unfolder.add(pixels.data() + 10 * kImageBytes, kPictures - 10);
  unfolder.finish();

  ASSERT_EQ(expected.size(), 52u);
  for (const auto& [name, s] : expected) {
    const auto mean = model.parameters.get(model.parameters.find(name + ".running_mean"));
    const auto variance = model.parameters.get(model.parameters.find(name + ".running_var"));
    ASSERT_EQ(mean.size(), s.mean.size());
    for (std::size_t c = 0; c < mean.size(); ++c) {
      const double spread = std::abs(s.mean[c]) + std::sqrt(s.variance[c]);
      const double tolerance = test::network_tolerance<float>(kLayers, kTerms, spread);
      EXPECT_NEAR(mean[c], s.mean[c], tolerance) << name << " channel " << c;
      // A value off by t moves a square by 2 t times the deviation.
      const double of_square = 2 * tolerance * std::max(1.0, spread);
      EXPECT_NEAR(variance[c], s.variance[c], of_square) << name << " channel " << c;
    }
  }
  const auto after = logits_of(model, pixels, kPictures);
  const double greatest =
      std::abs(*std::ranges::max_element(before, {}, [](float v) { return std::abs(v); }));
  for (std::size_t i = 0; i < before.size(); ++i)
    EXPECT_NEAR(after[i], before[i], test::network_tolerance<float>(kLayers, kTerms, greatest));
  EXPECT_FALSE(is_bn_folded(model));
  const auto gamma = model.parameters.get(model.parameters.find("features.18.1.weight"));
  const auto variance = model.parameters.get(model.parameters.find("features.18.1.running_var"));
  EXPECT_FLOAT_EQ(gamma[0], std::sqrt(variance[0] + static_cast<float>(model.config.bn_eps)));
}

TEST(BatchNormUnfolder, RefusesWhatItCannotDo) {
  ThreadPool pool(1);
  Model plain = folded_model();
  plain.notes.erase(kBnFolded);
  EXPECT_THROW(BatchNormUnfolder(plain, CpuBackend(pool)), UsageError);

  Model model = folded_model();
  const CpuBackend backend(pool);
  BatchNormUnfolder unfolder(model, backend);
  const auto pixels = pictures(1);
  for (Index i = 0; i + 1 < kLeastUnfoldPictures; ++i) unfolder.add(pixels.data(), 1);
  try {
    unfolder.finish();
    FAIL() << "31 pictures were enough";
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find("31 pictures are too few"), std::string::npos);
  }
  EXPECT_TRUE(is_bn_folded(model));
}

TEST(DeviceBatchNormUnfolder, ComputesInFloatAlone) {
  DF_NEEDS_DEVICE();
  Model model = folded_model();
  EXPECT_THROW(BatchNormUnfolder(model, CudaBackend({})), UsageError);
}

}  // namespace
}  // namespace dfengine
