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

#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/runtime/session.h"
#include "layers/networks/architectures.h"
#include "tests/engine/model/formula_parameters.h"
#include "tests/engine/plan/plan_support.h"
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

NetworkConfig config_for(const weights::TensorFile& file) {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = kSide;
  config.padding = file.metadata.at("padding") == "torch" ? Padding::Torch : Padding::TfSame;
  config.stem_stride = std::stoi(file.metadata.at("stem_stride"));
  config.bn_eps = std::stod(file.metadata.at("bn_eps"));
  config.dropout = 0;
  return config;
}

// A network with the formula's parameters, run for inference and trained step by step.
template <class T>
class GoldenRun {
 public:
  static constexpr Element kElement = std::is_same_v<T, float> ? Element::F32 : Element::F64;

  explicit GoldenRun(const weights::TensorFile& file)
      : graph_(make_network(config_for(file)).graph),
        store_(graph_.params(), kElement, 0),
        pool_(2),
        backend_(pool_, kElement) {
    test::set_formula_parameters(store_, file.metadata.at("parameter_order"));
    images_ = file.find("images")->bytes;
    for (double t : doubles(file, "targets")) targets_.push_back(static_cast<T>(t));
    const Spec images{{1, kSide, kSide, 3}, Element::U8}, targets{{1, 1, 1, 1}, kElement};
    training_graph_ = with_loss(graph_);
    parameters_.emplace(training_graph_, store_, backend_, test::everything());
    training_.emplace(training_graph_, std::vector<Spec>{images, targets},
                      PlanOptions{.phase = Phase::Train, .trainable = test::everything()},
                      *parameters_);
    Update update = parameters_->update(store_, AdamProblem{}, 0.0);
    update.input = &input_;
    update.scalars = &scalars_;
    update_ = backend_.make_update(update);
  }

  std::vector<double> logits() {
    ParameterBlock parameters(graph_, store_, backend_);
    Session session(graph_, {{{1, kSide, kSide, 3}, Element::U8}}, {}, parameters);
    const Binding& binding = *session.bound(kImages).binding;
    std::memcpy(binding.input("images").address, images_.data(), images_.size());
    binding.forward({backend_.queue()});
    const T* z = binding.output("logits").template as<T>();
    return {z, z + kImages};
  }

  // Forward and backward; the loss.
  double step() {
    const Binding& binding = *training_->bound(kImages).binding;
    std::memcpy(binding.input("images").address, images_.data(), images_.size());
    std::memcpy(binding.input("targets").address, targets_.data(), targets_.size() * sizeof(T));
    const StepContext ctx{backend_.queue(), &input_, &scalars_};
    binding.forward(ctx);
    const double loss = *binding.output("loss").template as<T>();
    binding.backward(ctx);
    return loss;
  }

  void update(double lr) {
    input_.learning_rate = lr;
    update_();
    backend_.finish(&scalars_);
  }

  // A parameter, its gradient, or a running statistic after the step, in the file's order and
  // thinned out as the golden is.
  std::vector<double> value(const std::string& name) {
    return take(parameters_->value(store_.find(name)), name);
  }
  std::vector<double> gradient(const std::string& name) {
    return take(parameters_->gradient(store_.find(name)), name);
  }
  std::vector<double> next(const std::string& name) {
    return take(parameters_->next(store_.find(name)), name);
  }
  const std::vector<ParamSpec>& specs() const { return store_.specs(); }

 private:
  std::vector<double> take(ConstPlace from, const std::string& name) {
    constexpr Index kWhole = 4096, kSamples = 1024;
    const ParamSpec& spec = store_.specs()[at(store_.find(name))];
    const Index stride = spec.count() < kWhole ? 1 : (spec.count() + kSamples - 1) / kSamples;
    std::vector<double> out;
    for (Index e = 0; e < spec.count(); e += stride)
      out.push_back(from.as<T>()[spec.memory_position(e)]);
    return out;
  }

  Graph graph_, training_graph_;
  ParameterStore store_;
  ThreadPool pool_;
  CpuBackend backend_;
  std::vector<std::byte> images_;
  std::vector<T> targets_;
  StepInput input_;
  StepScalars scalars_;
  std::optional<ParameterBlock> parameters_;
  std::optional<Session> training_;
  std::function<void()> update_;
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

constexpr const char* kTrained[] = {"mobilenet_v2_010_torch", "mobilenet_v2_010_torch_stem_1"};

TYPED_TEST(PytorchGolden, InferenceTorchPadding) {
  for (const char* name : kTrained) {
    SCOPED_TRACE(name);
    const weights::TensorFile file = golden(name);
    const std::vector<double> want = doubles(file, "eval_logits");
    expect_close(GoldenRun<TypeParam>(file).logits(), want,
                 network_tolerance<TypeParam>(greatest(want)), "eval_logits");
  }
}

TYPED_TEST(PytorchGolden, TensorflowPadding) {
  const weights::TensorFile file = golden("mobilenet_v2_010_tf_same");
  GoldenRun<TypeParam> network(file);
  const std::vector<double> want = doubles(file, "eval_logits");
  expect_close(network.logits(), want, network_tolerance<TypeParam>(greatest(want)), "eval_logits");
  const std::vector<double> loss = doubles(file, "train_loss");
  expect_close({network.step()}, loss, network_tolerance<TypeParam>(loss[0]), "train_loss");
}

template <class T>
void expect_one_step(const weights::TensorFile& file) {
  GoldenRun<T> network(file);
  const std::vector<double> loss = doubles(file, "train_loss");
  expect_close({network.step()}, loss, network_tolerance<T>(loss[0]), "train_loss");

  double all = 0;  // the greatest gradient of the network
  for (const ParamSpec& p : network.specs())
    if (is_learned(p.role)) all = std::max(all, greatest(doubles(file, "grad/" + p.name)));
  for (const ParamSpec& p : network.specs()) {
    if (!is_learned(p.role)) {
      const std::vector<double> want = doubles(file, "running/" + p.name);
      expect_close(network.next(p.name), want,
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
    expect_close(network.value(p.name), want, stored(greatest(want)), "updated " + p.name);
  }
}

TYPED_TEST(PytorchGolden, OneStep) {
  for (const char* name : kTrained) {
    SCOPED_TRACE(name);
    expect_one_step<TypeParam>(golden(name));
  }
}

template <class T>
void expect_losses(const weights::TensorFile& file, const std::string& name, double lr) {
  GoldenRun<T> network(file);
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
  for (const char* name : kTrained) {
    SCOPED_TRACE(name);
    const weights::TensorFile file = golden(name);
    expect_losses<TypeParam>(file, "losses_small_lr", 1e-5);
    // At this rate float leaves the curve by whole Adam steps (tests/golden/README.md).
    if (!std::is_same_v<TypeParam, float>) expect_losses<TypeParam>(file, "losses", 1e-3);
  }
}

}  // namespace
}  // namespace dfengine
