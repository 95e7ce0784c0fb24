// MobileNetV2 against PyTorch in float64 (tests/golden/README.md says how the goldens were made):
// inference, one training step with every gradient, statistic and updated weight, ten steps'
// losses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "engine/runtime/executor.h"
#include "engine/train/optimizer.h"
#include "tests/engine/model/formula_parameters.h"
#include "tests/support/places.h"
#include "tests/support/tolerance.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

constexpr Index kImages = 8, kSide = 64;
// What rounding errors pass through: 52 convolutions and two dense layers, up to 1280 terms each.
constexpr double kLayers = 54, kTerms = 1280;

template <class T>
double network_tolerance(double magnitude) {
  return kLayers * test::tolerance<T>(kTerms, magnitude);
}

weights::TensorFile golden(const std::string& name) {
  return weights::read_safetensors(test::golden_folder() / (name + ".safetensors"));
}

std::vector<double> doubles(const weights::TensorFile& file, const std::string& name) {
  const weights::Tensor* t = file.find(name);
  if (t == nullptr) throw std::runtime_error("golden has no tensor " + name);
  std::vector<double> out(static_cast<std::size_t>(t->count()));
  if (t->dtype == weights::DType::F64) {
    std::memcpy(out.data(), t->bytes.data(), t->bytes.size());
  } else {
    const std::vector<float> values = weights::to_float(*t);
    std::copy(values.begin(), values.end(), out.begin());
  }
  return out;
}

MobileNetV2Config config_for(Padding padding) {
  MobileNetV2Config config;
  config.width = 0.1;
  config.input_size = kSide;
  config.padding = padding;
  config.bn_eps = padding == Padding::Torch ? 1e-5 : 1e-3;
  config.dropout = 0;
  return config;
}

// A network with the formula's parameters, its training plan and its inference plan.
template <class T>
class Network {
 public:
  static constexpr Element kElement = std::is_same_v<T, float> ? Element::F32 : Element::F64;

  Network(const weights::TensorFile& file, Padding padding)
      : config_(config_for(padding)),
        parameters_(make_mobilenet_v2(config_, kElement).params(), kElement, 0),
        pool_(2) {
    test::set_formula_parameters(parameters_, file.metadata.at("parameter_order"));
    images_ = file.find("images")->bytes;
    for (double t : doubles(file, "targets")) targets_.push_back(static_cast<T>(t));
    const Spec specs[] = {{{kImages, kSide, kSide, 3}, Element::U8},
                          {{kImages, 1, 1, 1}, kElement}};
    train_ = Plan::build(make_mobilenet_v2_training(config_, kElement), specs,
                         {Phase::Train, [](const ParamSpec&) { return true; }});
    infer_ =
        Plan::build(make_mobilenet_v2(config_, kElement), std::span(specs, 1), {Phase::Infer, {}});
    optimizer_.emplace(parameters_, train_.trained(), OptimizerKind::Adam, 0.0);
    arena_ = Memory(std::max(train_.arena_bytes(), infer_.arena_bytes()));
  }

  std::vector<double> logits() {
    Executor e(infer_, parameters_, nullptr, arena_);
    e.prepare();
    std::memcpy(e.input("images"), images_.data(), images_.size());
    e.forward({{pool_}, nullptr});
    const T* z = static_cast<const T*>(e.output("logits"));
    return {z, z + kImages};
  }

  // Forward and backward; the loss.
  double step() {
    Executor e(train_, parameters_, optimizer_->gradients(), arena_);
    std::memcpy(e.input("images"), images_.data(), images_.size());
    std::memcpy(e.input("targets"), targets_.data(), targets_.size() * sizeof(T));
    const StepState state;
    const LayerContext ctx{{pool_}, &state};
    e.forward(ctx);
    const double loss = *static_cast<const T*>(e.output("loss"));
    e.backward(ctx);
    return loss;
  }

  void update(double lr) { optimizer_->update({pool_}, lr); }

  // A parameter, or its gradient, in the file's order and thinned out as the golden is.
  std::vector<double> values(const std::string& name) { return take(parameters_.data(), name); }
  std::vector<double> gradient(const std::string& name) {
    return take(optimizer_->gradients(), name);
  }
  const std::vector<ParamSpec>& specs() const { return parameters_.specs(); }

 private:
  std::vector<double> take(const std::byte* block, const std::string& name) {
    constexpr Index kWhole = 4096, kSamples = 1024;
    const int i = parameters_.find(name);
    const ParamSpec& spec = parameters_.specs()[static_cast<std::size_t>(i)];
    const T* from = reinterpret_cast<const T*>(block) + parameters_.offset(i);
    const Index stride = spec.count() < kWhole ? 1 : (spec.count() + kSamples - 1) / kSamples;
    std::vector<double> out;
    for (Index e = 0; e < spec.count(); e += stride) out.push_back(from[memory_position(spec, e)]);
    return out;
  }

  MobileNetV2Config config_;
  ParameterStore parameters_;
  ThreadPool pool_;
  std::vector<std::byte> images_;
  std::vector<T> targets_;
  Plan train_, infer_;
  std::optional<Optimizer> optimizer_;
  Memory arena_;
};

double greatest(const std::vector<double>& v) {
  double m = 0;
  for (double x : v) m = std::max(m, std::abs(x));
  return m;
}

void expect_close(const std::vector<double>& got, const std::vector<double>& want, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance) << what << " element " << i;
}

// The golden's own rounding where it is stored as float.
double stored(double magnitude) {
  return test::tolerance<float>(1, magnitude);
}

template <class T>
class PytorchGolden : public ::testing::Test {};
using Types = ::testing::Types<double, float>;
TYPED_TEST_SUITE(PytorchGolden, Types);

TYPED_TEST(PytorchGolden, InferenceTorchPadding) {
  const weights::TensorFile file = golden("mobilenet_v2_010_torch");
  const std::vector<double> want = doubles(file, "eval_logits");
  expect_close(Network<TypeParam>(file, Padding::Torch).logits(), want,
               network_tolerance<TypeParam>(greatest(want)), "eval_logits");
}

TYPED_TEST(PytorchGolden, TensorflowPadding) {
  const weights::TensorFile file = golden("mobilenet_v2_010_tf_same");
  Network<TypeParam> network(file, Padding::TfSame);
  const std::vector<double> want = doubles(file, "eval_logits");
  expect_close(network.logits(), want, network_tolerance<TypeParam>(greatest(want)), "eval_logits");
  const std::vector<double> loss = doubles(file, "train_loss");
  expect_close({network.step()}, loss, network_tolerance<TypeParam>(loss[0]), "train_loss");
}

TYPED_TEST(PytorchGolden, OneStep) {
  using T = TypeParam;
  const weights::TensorFile file = golden("mobilenet_v2_010_torch");
  Network<T> network(file, Padding::Torch);
  const std::vector<double> loss = doubles(file, "train_loss");
  expect_close({network.step()}, loss, network_tolerance<T>(loss[0]), "train_loss");

  double all = 0;  // the greatest gradient of the network
  for (const ParamSpec& p : network.specs())
    if (is_learned(p.role)) all = std::max(all, greatest(doubles(file, "grad/" + p.name)));
  for (const ParamSpec& p : network.specs()) {
    if (!is_learned(p.role)) {
      const std::vector<double> want = doubles(file, "running/" + p.name);
      expect_close(network.values(p.name), want,
                   network_tolerance<T>(greatest(want)) + stored(greatest(want)), p.name);
      continue;
    }
    const std::vector<double> want = doubles(file, "grad/" + p.name);
    // Shifts of projection norms have gradient zero: what cancels there is as large as elsewhere.
    const double scale = greatest(want) < stored(all) ? all : greatest(want);
    expect_close(network.gradient(p.name), want, network_tolerance<T>(scale) + stored(scale),
                 "gradient of " + p.name);
  }
  if (std::is_same_v<T, float>) return;  // Adam turns rounding near zero gradients into whole steps
  network.update(1e-3);
  for (const ParamSpec& p : network.specs()) {
    if (!is_learned(p.role)) continue;
    const std::vector<double> want = doubles(file, "adam/" + p.name);
    expect_close(network.values(p.name), want, stored(greatest(want)), "updated " + p.name);
  }
}

template <class T>
void expect_losses(const weights::TensorFile& file, const std::string& name, double lr) {
  Network<T> network(file, Padding::Torch);
  const std::vector<double> want = doubles(file, name);
  std::vector<double> got;
  for (std::size_t i = 0; i < want.size(); ++i) {
    got.push_back(network.step());
    network.update(lr);
  }
  // Each step adds the rounding of one more pass.
  expect_close(got, want, static_cast<double>(want.size()) * network_tolerance<T>(greatest(want)),
               name);
}

TYPED_TEST(PytorchGolden, TenSteps) {
  const weights::TensorFile file = golden("mobilenet_v2_010_torch");
  expect_losses<TypeParam>(file, "losses_small_lr", 1e-5);
  // At this rate float leaves the curve by whole Adam steps (tests/golden/README.md).
  if (!std::is_same_v<TypeParam, float>) expect_losses<TypeParam>(file, "losses", 1e-3);
}

}  // namespace
}  // namespace dfengine
