// Whole Keras models: what stands around the base, by Keras' own configurations
// (keras_configs.json), and the head that its dense layers become, against the layers computed one
// by one.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "tests/support/places.h"
#include "tests/support/random_data.h"
#include "tests/support/tolerance.h"
#include "weights/families/source.h"
#include "weights/json_extent.h"
#include "weights/keras/keras_head.h"

namespace dfengine::weights {
namespace {

using Steps = std::vector<std::string>;

// The surroundings of a model that Keras of both versions wrote.
class KerasConfig : public testing::TestWithParam<const char*> {
 protected:
  static KerasSurroundings read(const char* model) {
    const auto all =
        nlohmann::json::parse(std::ifstream(test::golden_folder() / "keras_configs.json"));
    const auto found = keras_surroundings(keras_config_layers(all.at(GetParam()).at(model).dump()));
    EXPECT_TRUE(found) << model;
    return found.value_or(KerasSurroundings());
  }
  static Steps steps_of(const KerasSurroundings& model) {
    Steps steps;
    for (const KerasStep& step : model.steps)
      steps.push_back(step.kind == KerasStep::Kind::Dense  ? "dense " + step.path
                      : step.kind == KerasStep::Kind::Norm ? "norm " + step.path
                                                           : "relu");
    return steps;
  }
};

TEST_P(KerasConfig, TheNotebooksModel) {
  const KerasSurroundings model = read("notebook");
  EXPECT_EQ(model.fault, "");
  EXPECT_EQ(model.side, 96);
  ASSERT_TRUE(model.scaling);
  for (std::size_t c = 0; c < 3; ++c) {
    EXPECT_DOUBLE_EQ(model.scaling->factor[c], 1 / 127.5);
    EXPECT_EQ(model.scaling->shift[c], -1);
  }
  EXPECT_EQ(model.dropout, 0.25);
  EXPECT_EQ(steps_of(model), (Steps{"dense layers/dense", "relu", "dense layers/dense_1"}));
  EXPECT_EQ(model.output, HeadOutput::Sigmoid);
  EXPECT_TRUE(model.assumed.empty());
}

TEST_P(KerasConfig, AFunctionalModelOf120Breeds) {
  const KerasSurroundings model = read("functional");
  EXPECT_EQ(model.fault, "");
  EXPECT_EQ(model.side, 160);
  ASSERT_TRUE(model.scaling);  // preprocess_input's division and subtraction
  EXPECT_DOUBLE_EQ(model.scaling->factor[1], 1 / 127.5);
  EXPECT_EQ(model.scaling->shift[2], -1);
  EXPECT_EQ(model.dropout, 0.5);
  EXPECT_EQ(steps_of(model), Steps{"dense layers/dense"});
  EXPECT_EQ(model.output, HeadOutput::Softmax);
}

TEST_P(KerasConfig, TheBasesLayersAmongTheModelsOwn) {
  const KerasSurroundings model = read("flat");
  EXPECT_EQ(model.fault, "");
  EXPECT_EQ(model.side, 224);
  EXPECT_FALSE(model.scaling);
  EXPECT_EQ(steps_of(model), (Steps{"dense layers/dense", "norm layers/batch_normalization_52",
                                    "relu", "dense layers/dense_1"}));
  EXPECT_EQ(model.steps[1].epsilon, 1e-4);
}

TEST_P(KerasConfig, ScalingOfEachChannel) {
  const KerasSurroundings model = read("per_channel");
  EXPECT_EQ(model.fault, "");
  EXPECT_EQ(model.side, 128);
  ASSERT_TRUE(model.scaling);
  EXPECT_DOUBLE_EQ(model.scaling->factor[0], 1 / 60.0);
  EXPECT_DOUBLE_EQ(model.scaling->shift[2], -120 / 40.0);
  EXPECT_EQ(model.output, HeadOutput::Linear);
  ASSERT_EQ(model.assumed.size(), 1u);
  EXPECT_NE(model.assumed[0].find("Resizing"), std::string::npos) << model.assumed[0];
}

TEST_P(KerasConfig, WhatNoHeadOfOursIsHasItsReason) {
  const std::pair<const char*, const char*> cases[] = {
      {"two_answers", "does not take the layer before it alone"},
      {"maximum", "GlobalMaxPooling2D"},
      {"other_activation", "another activation"}};
  for (const auto& [model, word] : cases)
    EXPECT_NE(read(model).fault.find(word), std::string::npos) << model << read(model).fault;
}

INSTANTIATE_TEST_SUITE_P(Versions, KerasConfig, testing::Values("keras 3", "keras 2"));

TEST(KerasConfigText, ARandomCropCutsTheMiddleInInference) {
  const auto all =
      nlohmann::json::parse(std::ifstream(test::golden_folder() / "keras_configs.json"));
  std::string text = all.at("keras 3").at("notebook").dump();
  const std::string flip = R"("class_name":"RandomFlip")";
  ASSERT_NE(text.find(flip), std::string::npos);
  text.replace(text.find(flip), flip.size(), R"("class_name":"RandomCrop")");
  const auto found = keras_surroundings(keras_config_layers(text));
  ASSERT_TRUE(found);
  EXPECT_NE(found->fault.find("RandomCrop"), std::string::npos) << found->fault;
}

// What an adapted layer keeps among the weights is not read, nor scaling the other way round.
TEST(KerasConfigText, ANormalizationIsReadOrNamed) {
  const auto all =
      nlohmann::json::parse(std::ifstream(test::golden_folder() / "keras_configs.json"));
  const std::string text = all.at("keras 3").at("per_channel").dump();
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"[100.0,110.0,120.0]", "null"},
                                 {R"("invert":false)", R"("invert":true)"}}) {
    std::string changed = text;
    ASSERT_NE(changed.find(from), std::string::npos);
    changed.replace(changed.find(from), from.size(), to);
    const auto found = keras_surroundings(keras_config_layers(changed));
    ASSERT_TRUE(found);
    EXPECT_NE(found->fault.find("Normalization"), std::string::npos) << found->fault;
    EXPECT_FALSE(found->scaling);
  }
}

TEST(KerasConfigText, ABatchNormSaysWhatItHas) {
  const auto all =
      nlohmann::json::parse(std::ifstream(test::golden_folder() / "keras_configs.json"));
  std::string text = all.at("keras 3").at("flat").dump();
  const std::string scale = R"("scale":true)";
  ASSERT_NE(text.find(scale), std::string::npos);
  text.replace(text.rfind(scale), scale.size(), R"("scale":false)");
  const auto found = keras_surroundings(keras_config_layers(text));
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->steps.at(1).scale);
  EXPECT_TRUE(found->steps.at(1).center);
}

TEST(KerasConfigText, HostileTextIsNoModel) {
  std::string deep = "{}";
  for (int i = 0; i < 1000; ++i)
    deep = R"({"class_name":"Sequential","config":{"layers":[)" + deep + "]}}";
  for (const std::string& text :
       {std::string(""), std::string("[1,2"), std::string("7"), std::string(R"({"config":{}})"),
        std::string(R"({"config":{"layers":[1,null,"x"]}})"),
        std::string(R"({"config":{"layers":[{"class_name":"Dense"}]}})"), deep})
    EXPECT_FALSE(keras_surroundings(keras_config_layers(text))) << text.substr(0, 60);
  std::string arrays = R"({"config":{"layers":[{"class_name":"Dense","config":{"mean":)";
  arrays += std::string(100'000, '[') + std::string(100'000, ']') + "}}]}}";
  EXPECT_FALSE(keras_surroundings(keras_config_layers(arrays)));
}

TEST(KerasConfigText, TakesTimeInProportionToItsLength) {
  std::string text = R"({"config":{"layers":[)";
  for (int i = 0; i < 300'000; ++i) text += "{},";
  text += "{}]}}";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(keras_surroundings(keras_config_layers(text)));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(JsonExtent, CountsOutsideOfStringsAlone) {
  const auto check = [](const char* text, std::size_t depth, std::size_t values) {
    EXPECT_EQ(json_extent(text).depth, depth) << text;
    EXPECT_GE(json_extent(text).values, values) << text;
    EXPECT_LE(json_extent(text).values, 2 * values) << text;
  };
  check("7", 0, 1);
  check(R"("[[,,{\"[[,,")", 0, 1);
  check(R"(["a\\",[1,[2]],{"b":[]}])", 3, 7);
  check("]]]]", 0, 1);
  check("[[[[", 4, 4);
}

// Heads ------------------------------------------------------------------------------------------

constexpr std::size_t kFeatures = 5;

// A model's arrays, and what its layers make of features x, step by step.
struct Reference {
  TensorFile file;
  std::vector<KerasArray> arrays;
  KerasSurroundings model;
  std::vector<double> x;

  std::vector<float> add(const std::string& layer, KerasRole role, std::vector<std::int64_t> shape,
                         float least, float most) {
    std::int64_t count = 1;
    for (const std::int64_t n : shape) count *= n;
    const auto values = test::random_uniform<float>(count, file.tensors.size(), least, most);
    arrays.push_back({file.tensors.size(), layer, "layers/" + layer, true, role});
    file.tensors.push_back(
        make_tensor("layers/" + layer + "/vars/" + std::to_string(file.tensors.size()),
                    std::move(shape), std::span<const float>(values)));
    return values;
  }

  void dense(std::size_t outputs) {
    const std::string layer = "dense_" + std::to_string(arrays.size());
    const auto rows = static_cast<std::int64_t>(x.size()),
               columns = static_cast<std::int64_t>(outputs);
    const auto w = add(layer, KerasRole::DenseKernel, {rows, columns}, -1, 1);
    const auto b = add(layer, KerasRole::DenseBias, {columns}, -1, 1);
    std::vector<double> y(b.begin(), b.end());
    for (std::size_t i = 0; i < x.size(); ++i)
      for (std::size_t o = 0; o < outputs; ++o) y[o] += x[i] * double(w[i * outputs + o]);
    x = y;
    model.steps.push_back({KerasStep::Kind::Dense, layer, "layers/" + layer});
  }

  // Its arrays have the roles that keras_arrays gives to their numbers.
  void norm(bool scale = true, bool center = true) {
    const std::string layer = "norm_" + std::to_string(arrays.size());
    int number = 0;
    const auto next = [&](float least, float most) {
      const auto role = static_cast<KerasRole>(static_cast<int>(KerasRole::Gamma) + number++);
      return add(layer, role, {static_cast<std::int64_t>(x.size())}, least, most);
    };
    const auto gamma = scale ? next(0.5F, 2) : std::vector<float>(x.size(), 1);
    const auto beta = center ? next(-1, 1) : std::vector<float>(x.size());
    const auto mean = next(-1, 1), variance = next(0.5F, 2);
    constexpr double kEpsilon = 1e-3;
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] =
          (x[i] - double(mean[i])) / std::sqrt(double(variance[i]) + kEpsilon) * double(gamma[i]) +
          double(beta[i]);
    model.steps.push_back(
        {KerasStep::Kind::Norm, layer, "layers/" + layer, kEpsilon, scale, center});
  }

  void relu() {
    for (double& v : x) v = std::max(v, 0.0);
    model.steps.push_back({KerasStep::Kind::Relu, "", ""});
  }
};

std::vector<double> features() {
  return {0.25, 1.5, 0, 3, 0.75};
}

// One dense layer of the engine's head.
std::vector<double> apply(const KerasHead& head, const std::string& layer,
                          const std::vector<double>& x) {
  const auto find = [&](const std::string& name) {
    return *std::ranges::find(head.made.tensors, name, &Tensor::name);
  };
  const auto w = to_float(find(layer + ".weight")), b = to_float(find(layer + ".bias"));
  std::vector<double> y(b.begin(), b.end());
  for (std::size_t o = 0; o < y.size(); ++o)
    for (std::size_t i = 0; i < x.size(); ++i) y[o] += double(w[o * x.size() + i]) * x[i];
  return y;
}

// The head's numbers are rounded to float; no feature, factor or term here is above 4.
double rounding(const Reference& r) {
  double terms = kFeatures, magnitude = 4 * kFeatures;
  for (const KerasStep& step : r.model.steps)
    if (step.kind != KerasStep::Kind::Relu) terms *= 4, magnitude *= 4;
  return test::tolerance<float, float>(terms, magnitude);
}

double logit(const KerasHead& head) {
  std::vector<double> hidden = apply(head, "head.fc1", features());
  for (double& v : hidden) v = std::max(v, 0.0);
  return apply(head, "head.fc2", hidden).at(0);
}

TEST(KerasHead, OneLogitHoweverItIsSaid) {
  using Build = void (*)(Reference&);
  const std::vector<std::pair<Build, HeadOutput>> heads = {
      {[](Reference& r) { r.dense(4), r.relu(), r.dense(1); }, HeadOutput::Sigmoid},
      {[](Reference& r) { r.dense(1); }, HeadOutput::Sigmoid},
      {[](Reference& r) { r.dense(1); }, HeadOutput::Linear},
      {[](Reference& r) { r.relu(), r.dense(3), r.dense(1); }, HeadOutput::Sigmoid},
      {[](Reference& r) { r.norm(), r.dense(4), r.norm(), r.relu(), r.norm(), r.dense(1); },
       HeadOutput::Sigmoid},
      {[](Reference& r) { r.dense(2); }, HeadOutput::Softmax},
      {[](Reference& r) { r.norm(), r.dense(6), r.relu(), r.dense(2), r.norm(); },
       HeadOutput::Softmax}};
  for (std::size_t i = 0; i < heads.size(); ++i) {
    Reference r;
    r.x = features();
    heads[i].first(r);
    r.model.output = heads[i].second;
    const KerasHead head = keras_head(r.file, r.arrays, r.model, kFeatures);
    ASSERT_EQ(head.fault, "") << i;
    EXPECT_EQ(head.used.size(), r.arrays.size()) << i;
    const double wanted = r.x.size() == 2 ? r.x[1] - r.x[0] : r.x[0];
    EXPECT_NEAR(logit(head), wanted, rounding(r)) << i;
    EXPECT_EQ(head.made.assumed.empty(), heads[i].second != HeadOutput::Linear) << i;
  }
}

TEST(KerasHead, ABatchNormMayLackScaleOrCenter) {
  for (const auto& [scale, center] : {std::pair{false, true}, {true, false}, {false, false}}) {
    Reference r;
    r.x = features();
    r.norm(scale, center), r.dense(1);
    r.model.output = HeadOutput::Sigmoid;
    const KerasHead head = keras_head(r.file, r.arrays, r.model, kFeatures);
    ASSERT_EQ(head.fault, "");
    EXPECT_EQ(head.used.size(), r.arrays.size());
    EXPECT_NEAR(logit(head), r.x[0], rounding(r));
  }
}

// Where nothing is multiplied out, the file's numbers stay.
TEST(KerasHead, TheNotebooksHeadKeepsItsBits) {
  Reference r;
  r.x = features();
  r.dense(4), r.relu(), r.dense(1);
  r.model.output = HeadOutput::Sigmoid;
  const KerasHead head = keras_head(r.file, r.arrays, r.model, kFeatures);
  constexpr std::size_t kAxes[] = {1, 0};
  EXPECT_EQ(head.made.tensors[0].bytes, transposed(r.file.tensors[0], kAxes).bytes);
  EXPECT_EQ(head.made.tensors[1].bytes, r.file.tensors[1].bytes);
  EXPECT_EQ(head.made.tensors[3].bytes, r.file.tensors[3].bytes);
}

TEST(KerasHead, ManyClassesAreAClassifier) {
  Reference r;
  r.x = features();
  r.dense(120);
  r.model.output = HeadOutput::Softmax;
  const KerasHead head = keras_head(r.file, r.arrays, r.model, kFeatures);
  const std::vector<double> y = apply(head, "classifier.1", features());
  for (std::size_t i = 0; i < y.size(); ++i)
    EXPECT_FLOAT_EQ(static_cast<float>(y[i]), static_cast<float>(r.x[i]));
  EXPECT_FALSE(head.made.is_detector());
}

TEST(KerasHead, OtherHeadsHaveTheirReason) {
  const auto fault = [](void (*build)(Reference&), HeadOutput output) {
    Reference r;
    r.x = features();
    build(r);
    r.model.output = output;
    const KerasHead head = keras_head(r.file, r.arrays, r.model, kFeatures);
    EXPECT_TRUE(head.made.tensors.empty());
    return head.fault;
  };
  const auto deep = [](Reference& r) { r.dense(4), r.relu(), r.dense(3), r.relu(), r.dense(1); };
  EXPECT_NE(fault(deep, HeadOutput::Sigmoid).find("2 hidden layers"), std::string::npos);
  const auto classes = [](Reference& r) { r.dense(4), r.relu(), r.dense(3); };
  EXPECT_NE(fault(classes, HeadOutput::Softmax).find("3 outputs"), std::string::npos);
  const auto one = [](Reference& r) { r.dense(1); };
  EXPECT_NE(fault(one, HeadOutput::Softmax).find("1 outputs"), std::string::npos);
  const auto last = [](Reference& r) { r.dense(4), r.relu(); };
  EXPECT_NE(fault(last, HeadOutput::Sigmoid).find("not a dense one"), std::string::npos);
  const auto absent = [](Reference& r) { r.dense(4), r.arrays.clear(); };
  EXPECT_NE(fault(absent, HeadOutput::Sigmoid).find("no kernel for 5 inputs"), std::string::npos);
  const auto wide = [](Reference& r) { r.dense(1), r.dense(20'000'000 / 5); };
  EXPECT_NE(fault(wide, HeadOutput::Sigmoid).find("too wide"), std::string::npos);
  const auto shared = [](Reference& r) { r.dense(5), r.model.steps.push_back(r.model.steps[0]); };
  EXPECT_NE(fault(shared, HeadOutput::Sigmoid).find("in the model twice"), std::string::npos);
}

TEST(KerasHead, WithoutAConfigurationItIsGuessed) {
  Reference r;
  r.x = features();
  r.dense(4), r.relu(), r.dense(1);
  const KerasSurroundings model = guessed_surroundings(r.file, r.arrays);
  EXPECT_EQ(model.assumed.size(), 2u);
  const KerasHead head = keras_head(r.file, r.arrays, model, kFeatures);
  EXPECT_NEAR(logit(head), r.x[0], rounding(r));
  r.norm();
  EXPECT_NE(guessed_surroundings(r.file, r.arrays).fault, "");
}

}  // namespace
}  // namespace dfengine::weights
