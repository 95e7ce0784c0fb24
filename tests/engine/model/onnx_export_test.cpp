// A model written as ONNX and read back computes the same bits: folding is undone and done again
// without loss. Against ONNX Runtime: tests/onnx_export.py.
#include "engine/model/onnx_export.h"

#include <gtest/gtest.h>

#include <random>

#include "engine/model/model_fit.h"
#include "engine/model/predictor.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "kernels/base/error.h"
#include "layers/networks/architectures.h"
#include "weights/onnx/onnx_file.h"

namespace dfengine {
namespace {

NetworkConfig small_config() {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = 96;
  config.hidden = 24;
  config.classes = 5;
  return config;
}

// Batch norms as training leaves them: no vector is 0 or 1.
Model random_model(const NetworkConfig& config,
                   std::span<const Architecture> table = architectures()) {
  Model model = make_model(config, 1, table);
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(0.5f, 1.5f);
  for (std::size_t i = 0; i < model.parameters.specs().size(); ++i) {
    const ParamSpec& p = model.parameters.specs()[i];
    if (p.role == Role::Weight) continue;
    std::vector<float> values(static_cast<std::size_t>(p.count()));
    const float shift = p.role == Role::NormShift || p.role == Role::RunningMean ? 1.0f : 0.0f;
    for (float& v : values) v = uniform(random) - shift;
    model.parameters.set(static_cast<int>(i), std::span<const float>(values));
  }
  return model;
}

Model read_back(const std::vector<std::byte>& bytes) {
  return model_from_tensors(
      translate_weights(weights::parse_onnx(bytes, "onnx", weights::nothing_beside), "onnx"),
      "onnx");
}

std::vector<float> output_of(Model& model) {
  const auto size = static_cast<std::size_t>(model.config.input_size);
  std::vector<std::uint8_t> pixels(size * size * 3);
  std::mt19937 random(3);
  for (std::uint8_t& p : pixels) p = static_cast<std::uint8_t>(random());
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  Predictor predictor(
      model, backend,
      model.config.head == Head::None ? Predictor::Output::Pooled : Predictor::Output::Logits);
  std::vector<float> out(static_cast<std::size_t>(predictor.width()));
  predictor.run(pixels.data(), 1, out.data());
  return out;
}

class OnnxExport : public testing::Test {
 protected:
  void SetUp() override {
    if (!weights::onnx_supported()) GTEST_SKIP() << "built without DFENGINE_ONNX";
  }
};

TEST_F(OnnxExport, RoundTripKeepsEveryBit) {
  for (const Head head : {Head::Detector, Head::Classifier, Head::None}) {
    for (const Padding padding : {Padding::Torch, Padding::TfSame}) {
      for (const OnnxPixels pixels : {OnnxPixels::Raw, OnnxPixels::Normalized}) {
        NetworkConfig config = small_config();
        config.head = head;
        config.padding = padding;
        config.bn_eps = padding == Padding::Torch ? 1e-5 : 1e-3;
        config.mean = {0.5, 0.25, 0.1};
        config.stem_stride = pixels == OnnxPixels::Raw ? 1 : 2;
        Model model = random_model(config);
        Model again = read_back(model_to_onnx(model, pixels));
        EXPECT_EQ(again.config.padding, padding);
        EXPECT_EQ(again.config.bn_eps, config.bn_eps);
        EXPECT_EQ(again.config.mean, config.mean);
        EXPECT_EQ(again.config.input_size, config.input_size);
        EXPECT_EQ(again.config.head, head);
        EXPECT_EQ(again.config.stem_stride, config.stem_stride);
        const std::vector<float> expected = output_of(model);
        EXPECT_NE(expected.front(), 0.0f);
        EXPECT_EQ(output_of(again), expected);
      }
    }
  }
}

// Each member scales the pixels, by nodes and constants of its own.
TEST_F(OnnxExport, EnsemblesComeBackWithEveryBit) {
  for (const OnnxPixels pixels : {OnnxPixels::Raw, OnnxPixels::Normalized}) {
    NetworkConfig config = small_config();
    config.members = 3;
    Model model = random_model(config);
    model.temperature = 1.7;
    Model again = read_back(model_to_onnx(model, pixels));
    EXPECT_EQ(again.config.members, 3);
    const std::vector<float> expected = output_of(model);
    EXPECT_NE(expected.front(), 0.0f);
    EXPECT_EQ(output_of(again), expected);
  }
}

TEST_F(OnnxExport, AnEnsembleOfOtherMembersThanItsGraphHasIsRefused) {
  NetworkConfig config = small_config();
  config.members = 2;
  const std::vector<std::byte> bytes = model_to_onnx(random_model(config), OnnxPixels::Raw);
  for (const char* members : {"0", "1", "3", "x"}) {
    weights::TensorFile file = weights::parse_onnx(bytes, "onnx", weights::nothing_beside);
    file.metadata["members"] = members;
    EXPECT_THROW(translate_weights(file, "onnx"), ModelFileError) << members;
  }
}

TEST_F(OnnxExport, MetadataTravels) {
  Model model = random_model(small_config());
  model.classes = {"genuine", "made"};
  model.positive_class = "made";
  model.threshold = 0.625;
  model.temperature = 1.0 / 3.0;
  model.crop = Crop::Center;
  model.notes["source_family"] = "keras";
  const std::vector<std::byte> bytes = model_to_onnx(model, OnnxPixels::Normalized);
  EXPECT_EQ(
      weights::parse_onnx(bytes, "onnx", weights::nothing_beside).metadata.at("normalization"),
      "outside");
  const Model again = read_back(bytes);
  EXPECT_EQ(again.classes, model.classes);
  EXPECT_EQ(again.positive_class, "made");
  EXPECT_EQ(again.threshold, 0.625);
  EXPECT_EQ(again.temperature, 1.0 / 3.0);
  EXPECT_EQ(again.crop, Crop::Center);
  EXPECT_EQ(again.notes.at("source_family"), "keras");
  EXPECT_EQ(again.notes.at("bn_folded"), "yes");
  EXPECT_FALSE(again.notes.contains("normalization"));
}

// A file whose graph scales pixels in another way than its metadata says would be misread.
TEST_F(OnnxExport, ScalingMustAgreeWithTheMetadata) {
  const Model model = random_model(small_config());
  weights::TensorFile file =
      weights::parse_onnx(model_to_onnx(model, OnnxPixels::Raw), "onnx", weights::nothing_beside);
  file.metadata["mean"] = "0.5,0.5,0.5";
  EXPECT_THROW(translate_weights(file, "onnx"), ModelFileError);
}

TEST_F(OnnxExport, TheLogitIsDividedByTheMetadatasTemperature) {
  Model model = random_model(small_config());
  model.temperature = 1.7;
  for (const OnnxPixels pixels : {OnnxPixels::Raw, OnnxPixels::Normalized}) {
    const std::vector<std::byte> bytes = model_to_onnx(model, pixels);
    weights::TensorFile file = weights::parse_onnx(bytes, "onnx", weights::nothing_beside);
    const char* scale = pixels == OnnxPixels::Raw ? "mul1.value" : "mul0.value";
    EXPECT_EQ(weights::to_float(*file.find(scale)),
              std::vector<float>{static_cast<float>(1 / 1.7)});
    Model again = read_back(bytes);
    EXPECT_EQ(output_of(again), output_of(model));
    for (const char* other : {"1.8", "0", "x", "1.7,1.7"}) {
      weights::TensorFile changed = file;
      changed.metadata["temperature"] = other;
      EXPECT_THROW(translate_weights(changed, "onnx"), ModelFileError) << other;
    }
    file.metadata.erase("temperature");
    EXPECT_THROW(translate_weights(file, "onnx"), ModelFileError);
  }
}

// A convolution that its batch norm does not read alone, a batch norm behind a sum, and a
// convolution without one.
ValueId add_loose_base(Graph& graph, const NetworkConfig& config, ValueId images,
                       std::vector<std::string>& blocks) {
  constexpr Index c = 4;
  blocks.push_back("only");
  const auto add = [&](const char* name, const Operation& op, std::vector<ValueId> inputs) {
    return graph.add(name, op, std::move(inputs), 0);
  };
  ValueId x = add("normalize", ImageNormalize{config.mean, config.std_dev}, {images});
  x = add("shared", Convolution{.in = 3, .out = c, .window = {.size = 3, .stride = 2}}, {x});
  const ValueId y = add("beside", BatchNorm{.channels = c, .eps = config.bn_eps}, {x});
  x = add("sum", Add{}, {y, x});
  x = add("behind", BatchNorm{.channels = c, .eps = config.bn_eps}, {x});
  x = add("plain", Convolution{.in = c, .out = c}, {x});
  return graph.add("pooled", GlobalAveragePool{}, {x});
}
constexpr Architecture kLooseTable[] = {
    {.name = "loose", .title = "Loose", .add_base = add_loose_base}};

TEST_F(OnnxExport, BatchNormsAndConvolutionsAreNotTakenForPairs) {
  NetworkConfig config = small_config();
  config.architecture = "loose";
  config.head = Head::None;
  const Model model = random_model(config, kLooseTable);
  const std::vector<std::byte> bytes = model_to_onnx(model, OnnxPixels::Normalized);
  const weights::TensorFile file = weights::parse_onnx(bytes, "onnx", weights::nothing_beside);
  EXPECT_EQ(file.metadata.at(weights::kOnnxNodes),
            "Conv input kernel 3,3 strides 2,2 dilations 1,1 group 1 pads 1,1,1,1\n"
            "Mul %0\nAdd %1\nAdd %0 %2\nMul %3\nAdd %4\n"
            "Conv %5 kernel 1,1 strides 1,1 dilations 1,1 group 1 pads 0,0,0,0\n"
            "GlobalAveragePool %6\n");
  const auto value = [&](const std::string& name) {
    return model.parameters.get(model.parameters.find(name));
  };
  const auto exported = [&](const std::string& name) {
    return weights::to_float(*file.find(name));
  };
  EXPECT_EQ(exported("conv0.weight"), value("shared.weight"));
  EXPECT_EQ(exported("conv1.weight"), value("plain.weight"));
  EXPECT_EQ(file.find("conv0.bias"), nullptr);
  EXPECT_EQ(file.find("conv1.bias"), nullptr);
  for (const std::string norm : {"beside", "behind"}) {
    const std::string number = norm == "beside" ? "0" : "1";
    const auto gamma = value(norm + ".weight"), beta = value(norm + ".bias"),
               mean = value(norm + ".running_mean"), variance = value(norm + ".running_var");
    const auto scale = exported("mul" + number + ".value"),
               shift = exported("add" + number + ".value");
    for (std::size_t k = 0; k < gamma.size(); ++k) {
      const double exact = gamma[k] / std::sqrt(double{variance[k]} + config.bn_eps);
      EXPECT_EQ(scale[k], static_cast<float>(exact)) << norm;
      EXPECT_EQ(shift[k], static_cast<float>(beta[k] - mean[k] * exact)) << norm;
    }
  }
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_EQ(text.find("mobilenet"), std::string::npos) << "it bears another network's name";
}

}  // namespace
}  // namespace dfengine
