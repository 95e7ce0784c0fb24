// A network with an architecture of its own goes every way that MobileNetV2 goes: it trains, is
// kept in a file, is exported, and computes the same on a device.
#include "tests/engine/model/residual_network.h"

#include <set>

#include "engine/model/onnx_export.h"
#include "engine/model/predictor.h"
#include "kernels/base/error.h"
#include "tests/engine/runtime/device_support.h"
#include "tests/weights/scratch_folder.h"
#include "weights/onnx/onnx_file.h"
#include "weights/safetensors.h"

namespace dfengine::test {
namespace {

// Seven convolutions and dense layers and the pool, whose sum over 16 x 16 places is the longest.
constexpr double kLayers = 8, kTerms = 256;

// Of pictures of kSide pixels, which no file's may have.
Model residual_model(const NetworkConfig& config = residual_config()) {
  Model model = make_model(config, 7, kResidualTable);
  model.network.image = kImage;
  return model;
}

// Trains on one batch. The loss of each step.
std::vector<double> train(Model& model, const Backend& backend, int steps) {
  TrainingOptions o;
  o.batch = kImages;
  o.trainable = everything();
  Training training(with_loss(model.network.graph), model.network.image, model.parameters, backend,
                    o);
  const SmallBatch batch;
  std::vector<double> losses;
  for (int i = 0; i < steps; ++i) {
    training.step(batch.images.data(), batch.targets.data(), batch.n(),
                  {.seed = 1, .step = static_cast<std::uint64_t>(i), .learning_rate = 1e-2});
    losses.push_back(training.collect().loss / static_cast<double>(batch.n()));
  }
  EXPECT_EQ(training.download().step, static_cast<std::uint64_t>(steps));
  return losses;
}

std::vector<float> logits_of(const Model& model, const Backend& backend) {
  Predictor predictor(model, backend, Predictor::Output::Logits);
  const SmallBatch batch;
  std::vector<float> logits(at(batch.n()));
  predictor.run(batch.images.data(), batch.n(), logits.data());
  return logits;
}

TEST(ResidualNetwork, HasTheBlocksOfItsArchitecture) {
  const Network network = residual_network();
  EXPECT_EQ(network.title, "Residual");
  EXPECT_EQ(network.blocks, (std::vector<std::string>{"stem", "first", "second"}));
  EXPECT_EQ(network.features, kResidualChannels);
  for (int frozen = 0; frozen <= network.block_count(); ++frozen) {
    const Trainable trains = network.trainable_above(frozen);
    for (const ParamSpec& p : network.graph.params()) {
      const std::string block = p.name.substr(0, p.name.find('.'));
      const auto found = std::ranges::find(network.blocks, block);
      EXPECT_EQ(trains(p), found - network.blocks.begin() >= frozen) << p.name << " " << frozen;
    }
  }
}

class ResidualNetworkOn : public OnBackend {};
DF_ON_EVERY_BACKEND(ResidualNetworkOn);

TEST_P(ResidualNetworkOn, Trains) {
  const auto backend = float_backend(GetParam());
  Model model = residual_model();
  const std::vector<double> losses = train(model, *backend, 20);
  EXPECT_LT(losses.back(), losses.front() / 2);
  const std::vector<float> logits = logits_of(model, *backend);
  EXPECT_EQ(std::set<float>(logits.begin(), logits.end()).size(), logits.size())
      << "all pictures look the same to it";
  // The same step on both. Later ones part: Adam makes whole steps of gradients near 0.
  Model twin = residual_model();
  EXPECT_NEAR(losses[0], train(twin, cpu_backend(), 1)[0],
              network_tolerance<float>(kLayers, kTerms, losses[0]));
}

TEST(ResidualNetwork, ComesBackFromItsFileBitByBit) {
  Model model = residual_model();
  train(model, cpu_backend(), 3);
  model.temperature = 1.5;
  const ScratchFolder folder;
  const auto path = folder.path() / "residual.safetensors";
  save_model(path, model);
  const weights::TensorFile file = weights::read_safetensors(path);
  Model back = model_from_tensors(file, "FILE", kResidualTable);
  EXPECT_EQ(back.config.architecture, "residual");
  EXPECT_EQ(back.network.title, "Residual");
  EXPECT_EQ(back.temperature, 1.5);
  ASSERT_EQ(back.parameters.specs().size(), model.parameters.specs().size());
  for (int i = 0; i < std::ssize(model.parameters.specs()); ++i)
    EXPECT_EQ(back.parameters.get(i), model.parameters.get(i))
        << model.parameters.specs()[at(i)].name;
  back.network.image = kImage;
  EXPECT_EQ(logits_of(back, cpu_backend()), logits_of(model, cpu_backend()));
  // Where the table does not have it.
  try {
    (void)load_model(path);
    ADD_FAILURE() << "loaded as MobileNetV2";
  } catch (const ModelFileError& e) {
    EXPECT_NE(std::string(e.what()).find("residual"), std::string::npos) << e.what();
  }
}

// What the graph is in weights/onnx/onnx_file.h's words. Strides of two pad in front and behind.
const char* const kNodes =
    "Sub input\nMul %0\n"
    "Conv %1 kernel 3,3 strides 2,2 dilations 1,1 group 1 pads 1,1,1,1\nClip %2 0 6\n"
    "Conv %3 kernel 1,1 strides 1,1 dilations 1,1 group 1 pads 0,0,0,0\nClip %4 0 6\n"
    "Conv %5 kernel 3,3 strides 1,1 dilations 1,1 group 16 pads 1,1,1,1\nClip %6 0 6\n"
    "Add %3 %7\n"
    "Conv %8 kernel 1,1 strides 1,1 dilations 1,1 group 1 pads 0,0,0,0\nClip %9 0 6\n"
    "Conv %10 kernel 3,3 strides 1,1 dilations 1,1 group 16 pads 1,1,1,1\nClip %11 0 6\n"
    "Add %8 %12\n"
    "GlobalAveragePool %13\n"
    "Gemm %14 transA 0 transB 1 alpha 1 beta 1\nRelu %15\n"
    "Gemm %16 transA 0 transB 1 alpha 1 beta 1\nSigmoid %17\n";

TEST(ResidualNetwork, IsExportedToOnnx) {
  if (!weights::onnx_supported()) GTEST_SKIP() << "built without DFENGINE_ONNX";
  Model model = residual_model();
  train(model, cpu_backend(), 3);
  const weights::TensorFile file =
      weights::parse_onnx(model_to_onnx(model, OnnxPixels::Raw), "onnx", weights::nothing_beside);
  EXPECT_EQ(file.metadata.at(weights::kOnnxNodes), kNodes);
  EXPECT_EQ(file.metadata.at("arch"), "residual");

  const auto value = [&](const std::string& name) {
    return model.parameters.get(model.parameters.find(name));
  };
  int conv = 0;
  for (const char* name : {"stem.conv", "first.pointwise", "first.depthwise", "second.pointwise",
                           "second.depthwise"}) {
    const std::string norm = std::string(name) + ".norm.", node = "conv" + std::to_string(conv++);
    const auto w = value(std::string(name) + ".weight"), gamma = value(norm + "weight"),
               beta = value(norm + "bias"), mean = value(norm + "running_mean"),
               variance = value(norm + "running_var");
    const auto weight = weights::to_float(*file.find(node + ".weight")),
               bias = weights::to_float(*file.find(node + ".bias"));
    ASSERT_EQ(weight.size(), w.size()) << name;
    ASSERT_EQ(bias.size(), gamma.size()) << name;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const std::size_t k = i / (w.size() / gamma.size());
      const double scale = gamma[k] / std::sqrt(double{variance[k]} + model.config.bn_eps);
      EXPECT_NEAR(weight[i], w[i] * scale, tolerance<float>(1, std::abs(w[i] * scale))) << name;
      EXPECT_NEAR(bias[k], beta[k] - mean[k] * scale,
                  tolerance<float>(2, std::abs(beta[k]) + std::abs(mean[k] * scale)))
          << name;
    }
  }
}

TEST(DeviceResidualNetwork, HasTheCpusLogits) {
  DF_NEEDS_DEVICE();
  Model model = residual_model();
  train(model, cpu_backend(), 3);
  const std::vector<float> on_cpu = logits_of(model, cpu_backend()),
                           on_device = logits_of(model, *float_backend(DeviceKind::Cuda));
  for (std::size_t i = 0; i < on_cpu.size(); ++i)
    EXPECT_NEAR(on_device[i], on_cpu[i],
                network_tolerance<float>(kLayers, kTerms, std::abs(on_cpu[i])));
}

}  // namespace
}  // namespace dfengine::test
