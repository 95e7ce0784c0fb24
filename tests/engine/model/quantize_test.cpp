// Quantized models: the network's integers against plain loops, what the float model says, files,
// and what is refused.
#include "engine/model/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "engine/model/combine.h"
#include "engine/model/onnx_export.h"
#include "engine/model/predictor.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "kernels/base/error.h"
#include "kernels/base/half.h"
#include "kernels/cpu/isa.h"
#include "weights/onnx/onnx_file.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

constexpr Index kSize = 96;
constexpr Index kImageBytes = kSize * kSize * 3;

// Norms as a trained network has them: other ranges in every channel, and channels that are always
// 0.
Model float_model(Head head = Head::Detector, Padding padding = Padding::Torch,
                  Index stem_stride = 2) {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = kSize;
  config.head = head;
  config.padding = padding;
  config.stem_stride = stem_stride;
  Model model = make_model(config, 11);
  std::mt19937 random(3);
  for (const ParamSpec& p : std::vector<ParamSpec>(model.parameters.specs())) {
    std::vector<float> values(at(p.count()));
    const auto between = [&](double low, double high) {
      for (float& v : values)
        v = static_cast<float>(std::uniform_real_distribution<>(low, high)(random));
    };
    if (p.role == Role::NormScale) between(.7, 1.5);
    if (p.role == Role::NormShift) between(-.2, .5);
    if (p.role == Role::RunningMean) between(-.5, .5);
    if (p.role == Role::RunningVar) between(.5, 2);
    if (p.name == "features.3.conv.0.1.bias") values[4] = -1000;
    if (p.role != Role::Weight && p.role != Role::Bias)
      model.parameters.set(model.parameters.find(p.name), std::span<const float>(values));
  }
  return model;
}

std::vector<std::uint8_t> pictures(Index n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> pixels(at(n * kImageBytes));
  for (Index i = 0; i < n; ++i) {
    // Smooth, and of other brightness and colour each: noise alone averages to one value.
    const auto of = [&](unsigned low, unsigned high) {
      return std::uniform_int_distribution<unsigned>(low, high)(random);
    };
    const unsigned bright = of(60, 250), period = of(5, 45), red = of(0, 2);
    for (Index j = 0; j < kImageBytes; ++j) {
      const auto row = static_cast<unsigned>(j / 3 / kSize),
                 column = static_cast<unsigned>(j / 3 % kSize);
      const unsigned wave = (row * red + column) % period * bright / period;
      pixels[at(i * kImageBytes + j)] = static_cast<std::uint8_t>(std::min(255U, wave + of(0, 9)));
    }
  }
  return pixels;
}

std::vector<float> run(const Model& model, const std::vector<std::uint8_t>& pixels,
                       Predictor::Output output, int threads = 1) {
  ThreadPool pool(threads);
  const CpuBackend backend(pool);
  Predictor predictor(model, backend, output);
  const Index n = std::ssize(pixels) / kImageBytes;
  std::vector<float> out(at(n * predictor.width()));
  predictor.run(pixels.data(), n, out.data());
  return out;
}

QuantizedModel quantized(const Model& model, Index n = 24) {
  ThreadPool pool(2);
  return quantize(model, pictures(n, 1).data(), n, CpuBackend(pool));
}

// ---- The oracle: the graph by plain loops, from what the file holds ----

struct Bytes {
  Shape shape;
  Quantization quantization;
  std::vector<std::uint8_t> values;
  int at_or(Index h, Index w, Index c, int outside) const {
    if (h < 0 || w < 0 || h >= shape.h || w >= shape.w) return outside;
    return values[at((h * shape.w + w) * shape.c + c)];
  }
};

Bytes convolve(const Model& model, const std::string& name, const QuantizedConvolution& q,
               const Bytes& x, const Bytes* skip) {
  const auto values = [&](const char* of) {
    return model.parameters.get(model.parameters.find(name + of));
  };
  const std::vector<float> w = values(".weight"), scale = values(".weight_scale"),
                           bias = values(".bias");
  const Convolution& op = q.conv;
  const Index size = op.window.size, in = op.in / op.groups;
  const WindowAxis rows = window_axis(x.shape.h, op.window),
                   columns = window_axis(x.shape.w, op.window);
  Bytes y{{1, rows.out, columns.out, op.out}, q.output, {}};
  for (Index i = 0; i < y.shape.count(); ++i) {
    const Index k = i % op.out, column = i / op.out % columns.out, row = i / op.out / columns.out;
    const float* weights = w.data() + k * in * size * size;
    std::int64_t sum = 0, all = 0;
    for (Index c = 0; c < in; ++c)
      for (Index r = 0; r < size; ++r)
        for (Index s = 0; s < size; ++s) {
          const auto weight = static_cast<std::int64_t>(weights[(c * size + r) * size + s]);
          const Index channel = op.groups > 1 ? k : c;
          sum += weight * x.at_or(row * op.window.stride + r - rows.before,
                                  column * op.window.stride + s - columns.before, channel,
                                  op.in == 3 ? q.outside[at(channel)] : 0);
          all += weight;
        }
    const double one = static_cast<double>(x.quantization.scale) * scale[at(k)];
    const auto offset =
        std::llrint(bias[at(k)] / one - static_cast<double>(x.quantization.zero * all));
    const volatile float scaled =
        static_cast<float>(sum + offset) * static_cast<float>(one / q.output.scale);
    float value = scaled;
    if (skip != nullptr) {
      const volatile float rest =
          static_cast<float>(skip->values[at(i)] - skip->quantization.zero) *
          (skip->quantization.scale / q.output.scale);
      value += rest;
    }
    const long byte = std::lrint(value) + q.output.zero;
    y.values.push_back(static_cast<std::uint8_t>(std::clamp(byte, 0L, 255L)));
  }
  return y;
}

std::vector<float> oracle(const Model& model, const std::vector<std::uint8_t>& picture) {
  std::map<ValueId, Bytes> values;
  const Graph& graph = model.network.graph;
  values[graph.input("images")] = {{1, kSize, kSize, 3}, {}, picture};
  for (const Node& node : graph.nodes()) {
    const Bytes& x = values.at(node.inputs[0]);
    if (const auto* op = std::get_if<QuantizedConvolution>(&node.operation)) {
      const Bytes* skip = op->conv.residual ? &values.at(node.inputs[1]) : nullptr;
      values[node.output] = convolve(model, node.name, *op, x, skip);
      continue;
    }
    EXPECT_TRUE(std::holds_alternative<GlobalAveragePool>(node.operation)) << node.name;
    std::vector<float> pooled;
    for (Index c = 0; c < x.shape.c; ++c) {
      std::int32_t sum = 0;
      for (Index i = 0; i < x.shape.h * x.shape.w; ++i) sum += x.values[at(i * x.shape.c + c)];
      pooled.push_back(x.quantization.scale / static_cast<float>(x.shape.h * x.shape.w) *
                       static_cast<float>(sum));
    }
    return pooled;
  }
  return {};
}

TEST(Quantize, GivesTheIntegersOfPlainLoops) {
  for (const auto& [padding, stride] : {std::pair{Padding::Torch, Index{2}},
                                        {Padding::TfSame, Index{2}},
                                        {Padding::Torch, Index{1}}}) {
    const Model model = quantized(float_model(Head::None, padding, stride), 16).model;
    const auto picture = pictures(1, 9);
    const std::vector<float> want = oracle(model, picture);
    const cpu::Isa before = cpu::current_isa();
    for (const cpu::Isa isa : {cpu::Isa::Baseline, cpu::Isa::Avx2, cpu::Isa::Avx512}) {
      if (!cpu::isa_supported(isa)) continue;
      cpu::set_isa(isa);
      EXPECT_EQ(run(model, picture, Predictor::Output::Pooled), want) << cpu::isa_name(isa);
    }
    cpu::set_isa(before);
  }
}

// As in Keras' published base of width 0.35.
TEST(Quantize, ChannelsThatDiedKeepTheirBias) {
  Model of = float_model(Head::None);
  for (const auto& [suffix, value] : {std::pair{".weight", 5e-18F}, {".bias", 0.25F}}) {
    const int index = of.parameters.find(std::string("features.2.conv.0.1") + suffix);
    std::vector<float> values = of.parameters.get(index);
    values[3] = value;
    of.parameters.set(index, std::span<const float>(values));
  }
  const Model model = quantized(of, 16).model;
  const auto values = [&](const char* name) {
    return model.parameters.get(model.parameters.find(name));
  };
  const std::vector<float> weights = values("features.2.conv.0.0.weight"),
                           biases = values("features.2.conv.0.0.bias");
  const std::size_t inputs = weights.size() / biases.size();
  for (std::size_t i = 0; i < inputs; ++i) EXPECT_EQ(weights[3 * inputs + i], 0);
  EXPECT_GT(biases[3], 0);
  const auto picture = pictures(1, 9);
  EXPECT_EQ(run(model, picture, Predictor::Output::Pooled), oracle(model, picture));
}

// Sums of signed bytes saturate in ONNX Runtime on CPUs without VNNI.
TEST(Quantize, OnnxHasWeightsAsBytesAround128) {
  if (!weights::onnx_supported()) GTEST_SKIP() << "built without DFENGINE_ONNX";
  const Model model = quantized(float_model(Head::None), 16).model;
  const std::vector<std::byte> file = model_to_onnx(model, OnnxPixels::Raw);
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  // As protobuf writes a tensor's data_type, UINT8, its name and its raw_data.
  const auto holds = [&](const std::string& name, const std::string& bytes) {
    const auto sized = [](const std::string& of) { return static_cast<char>(of.size()) + of; };
    return text.find("\x10\x02\x42" + sized(name) + '\x4a' + sized(bytes)) != text.npos;
  };
  const std::string layer = "features.1.conv.0.0";
  std::string weights;
  for (const float v : model.parameters.get(model.parameters.find(layer + ".weight")))
    weights += static_cast<char>(static_cast<int>(v) + 128);
  EXPECT_TRUE(holds(layer + ".integers", weights));
  EXPECT_TRUE(holds(layer + ".weight_zero", std::string(weights.size() / 9, '\x80')));
}

TEST(Quantize, SaysWhatTheFloatModelSays) {
  const Model model = float_model();
  const QuantizedModel made = quantized(model, 64);
  const auto pixels = pictures(40, 2);
  const std::vector<float> want = run(model, pixels, Predictor::Output::Logits);
  const std::vector<float> is = run(made.model, pixels, Predictor::Output::Logits);
  double error = 0, mean = 0, spread = 0;
  for (const float v : want) mean += v / 40;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += std::pow(is[i] - want[i], 2);
    spread += std::pow(want[i] - mean, 2);
  }
  // A wrong scale, shift or bias anywhere makes the two strangers: an error beyond the spread.
  EXPECT_LT(error, spread);
  ASSERT_EQ(made.results.size(), 3U);
  for (const RuleResult& r : made.results)
    EXPECT_GE(r.difference, made.results[static_cast<std::size_t>(made.rule)].difference);
}

TEST(Quantize, AnyNumberOfThreadsGivesTheSameBits) {
  const Model model = quantized(float_model()).model;
  const auto pixels = pictures(7, 3);
  const auto one = run(model, pixels, Predictor::Output::Logits);
  EXPECT_EQ(run(model, pixels, Predictor::Output::Logits, 3), one);
  const std::vector<std::uint8_t> first(pixels.begin(), pixels.begin() + kImageBytes);
  EXPECT_EQ(run(model, first, Predictor::Output::Logits, 3)[0], one[0]);
}

TEST(Quantize, TheFileIsTheModel) {
  const Model of = float_model();
  const Model model = quantized(of).model;
  const weights::TensorFile file = model_to_tensors(model);
  const Model again = model_from_tensors(file, "file");
  EXPECT_EQ(again.config.quantization, model.config.quantization);
  const auto pixels = pictures(3, 4);
  EXPECT_EQ(run(again, pixels, Predictor::Output::Logits),
            run(model, pixels, Predictor::Output::Logits));
  const auto bytes = [](const weights::TensorFile& f) {
    std::size_t sum = 0;
    for (const weights::Tensor& t : f.tensors)
      if (t.name.starts_with("features")) sum += t.bytes.size();
    return sum;
  };
  EXPECT_LT(bytes(file) * 2, bytes(model_to_tensors(of)));
}

TEST(Quantize, TheHeadIsInHalves) {
  Model of = float_model();
  const weights::TensorFile file = model_to_tensors(quantized(of).model);
  const int fc1 = of.parameters.find("head.fc1.weight");
  std::vector<float> values = of.parameters.get(fc1);
  const weights::Tensor& stored = *file.find("head.fc1.weight");
  EXPECT_EQ(stored.dtype, weights::DType::F16);
  const std::vector<float> halves = weights::to_float(stored);
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(halves[i], f16_to_float(float_to_f16(values[i]))) << i;
  values[0] = 1e5f;
  of.parameters.set(fc1, std::span<const float>(values));
  EXPECT_THROW(quantized(of), ModelFileError);
}

TEST(Quantize, DamagedFilesAreErrors) {
  const weights::TensorFile good = model_to_tensors(quantized(float_model()).model);
  const auto fails = [&](const std::string& with, const auto& damage) {
    weights::TensorFile file = good;
    damage(file);
    try {
      const Model model = model_from_tensors(file, "file");
      run(model, pictures(1, 1), Predictor::Output::Logits);
      ADD_FAILURE() << "no error with " << with;
    } catch (const ModelFileError& e) {
      EXPECT_NE(std::string(e.what()).find(with), std::string::npos) << e.what();
    }
  };
  const auto tensor = [](weights::TensorFile& file, const std::string& name) -> weights::Tensor& {
    return *std::ranges::find(file.tensors, name, &weights::Tensor::name);
  };
  const auto entry = [&](const std::string& value) {
    return [value](weights::TensorFile& f) { f.metadata["quantization"] = value; };
  };
  fails("features.0.0.weight", [&](weights::TensorFile& f) {
    weights::Tensor& t = tensor(f, "features.0.0.weight");
    t = weights::make_tensor(t.name, t.shape, std::vector<float>(at(t.count()), 1.f));
  });
  fails("features.0.0.weight_scale", [&](weights::TensorFile& f) {
    weights::Tensor& t = tensor(f, "features.0.0.weight_scale");
    t = weights::make_tensor(t.name, t.shape, std::vector<float>(at(t.count()), 0.f));
  });
  fails("features.0.0", [&](weights::TensorFile& f) {
    weights::Tensor& t = tensor(f, "features.0.0.bias");
    t = weights::make_tensor(t.name, t.shape, std::vector<float>(at(t.count()), 1e30f));
  });
  fails("quantization", entry("features.0.0"));
  fails("quantization", entry("features.0.0:x:0"));
  fails("features.1.conv.0.0", entry("features.0.0:1:0"));
  // The entries end with the others, which stay.
  const std::string all = good.metadata.at("quantization");
  ASSERT_TRUE(all.starts_with("features.0.0:"));
  const std::string others = all.substr(all.find(','));
  for (const char* wrong : {"features.0.0:0:0", "features.0.0:-1:0", "features.0.0:1:256",
                            "features.0.0:1:-1", "features.0.0:1:7"})
    fails("features.0.0", entry(wrong + others));
  fails("stranger", entry(all + ",stranger:1:0"));
  fails("unexpected", entry(""));
}

TEST(Quantize, RefusesWhatMakesNoSense) {
  const Model model = float_model();
  EXPECT_THROW(quantized(model, kLeastQuantizePictures - 1), DataError);
  const Model made = quantized(model).model;
  EXPECT_THROW(quantized(made), UsageError);
  std::vector<Model> two;
  for (int i = 0; i < 2; ++i) two.push_back(quantized(model).model);
  EXPECT_THROW(ensemble_of(two), UsageError);
  EXPECT_THROW(average_models(two), UsageError);
  if (cpu::bf16_supported()) {
    ThreadPool pool(1);
    const CpuBackend bf16(pool, Element::BF16);
    EXPECT_THROW(Predictor(made, bf16, Predictor::Output::Logits), UsageError);
  }
}

}  // namespace
}  // namespace dfengine
