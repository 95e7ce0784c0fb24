// timm's and Hugging Face's names -> torchvision's. The pairs are written out by hand from the
// table of names, not by the structure that the code uses.
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "engine/model/model_fit.h"
#include "kernels/base/error.h"
#include "tests/weights/scratch_folder.h"
#include "weights/families/source.h"

namespace dfengine::weights {
namespace {

struct Pair {
  const char* from;
  const char* to;
};

const std::vector<Pair> kTimm = {
    {"conv_stem.weight", "features.0.0.weight"},
    {"bn1.weight", "features.0.1.weight"},
    {"bn1.num_batches_tracked", "features.0.1.num_batches_tracked"},
    // Block 0: conv_pw is the projection, bn2 its norm.
    {"blocks.0.0.conv_dw.weight", "features.1.conv.0.0.weight"},
    {"blocks.0.0.bn1.running_var", "features.1.conv.0.1.running_var"},
    {"blocks.0.0.conv_pw.weight", "features.1.conv.1.weight"},
    {"blocks.0.0.bn2.bias", "features.1.conv.2.bias"},
    // Elsewhere conv_pw is the expansion.
    {"blocks.1.0.conv_pw.weight", "features.2.conv.0.0.weight"},
    {"blocks.1.0.bn1.weight", "features.2.conv.0.1.weight"},
    {"blocks.1.0.conv_dw.weight", "features.2.conv.1.0.weight"},
    {"blocks.1.0.bn2.running_mean", "features.2.conv.1.1.running_mean"},
    {"blocks.1.0.conv_pwl.weight", "features.2.conv.2.weight"},
    {"blocks.1.0.bn3.bias", "features.2.conv.3.bias"},
    {"blocks.1.1.conv_dw.weight", "features.3.conv.1.0.weight"},
    {"blocks.2.2.conv_pwl.weight", "features.6.conv.2.weight"},
    {"blocks.3.0.conv_pw.weight", "features.7.conv.0.0.weight"},
    {"blocks.3.3.bn3.weight", "features.10.conv.3.weight"},
    {"blocks.4.0.bn2.weight", "features.11.conv.1.1.weight"},
    {"blocks.5.0.conv_dw.weight", "features.14.conv.1.0.weight"},
    {"blocks.5.2.conv_pwl.weight", "features.16.conv.2.weight"},
    {"blocks.6.0.bn3.running_var", "features.17.conv.3.running_var"},
    {"conv_head.weight", "features.18.0.weight"},
    {"bn2.weight", "features.18.1.weight"},
    {"bn2.running_mean", "features.18.1.running_mean"},
    {"classifier.weight", "classifier.1.weight"},
    {"classifier.bias", "classifier.1.bias"}};

const std::vector<Pair> kHf = {
    {"mobilenet_v2.conv_stem.first_conv.convolution.weight", "features.0.0.weight"},
    {"mobilenet_v2.conv_stem.first_conv.normalization.bias", "features.0.1.bias"},
    {"mobilenet_v2.conv_stem.conv_3x3.convolution.weight", "features.1.conv.0.0.weight"},
    {"mobilenet_v2.conv_stem.conv_3x3.normalization.weight", "features.1.conv.0.1.weight"},
    {"mobilenet_v2.conv_stem.reduce_1x1.convolution.weight", "features.1.conv.1.weight"},
    {"mobilenet_v2.conv_stem.reduce_1x1.normalization.running_mean",
     "features.1.conv.2.running_mean"},
    {"mobilenet_v2.layer.0.expand_1x1.convolution.weight", "features.2.conv.0.0.weight"},
    {"mobilenet_v2.layer.0.conv_3x3.convolution.weight", "features.2.conv.1.0.weight"},
    {"mobilenet_v2.layer.0.conv_3x3.normalization.running_var", "features.2.conv.1.1.running_var"},
    {"mobilenet_v2.layer.12.reduce_1x1.convolution.weight", "features.14.conv.2.weight"},
    {"mobilenet_v2.layer.15.reduce_1x1.normalization.weight", "features.17.conv.3.weight"},
    {"mobilenet_v2.conv_1x1.convolution.weight", "features.18.0.weight"},
    {"mobilenet_v2.conv_1x1.normalization.num_batches_tracked",
     "features.18.1.num_batches_tracked"},
    {"classifier.weight", "classifier.1.weight"},
    {"classifier.bias", "classifier.1.bias"}};

// Tensor number i has shape [i + 1] and holds i.
TensorFile numbered(const std::vector<Pair>& pairs) {
  TensorFile file;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    file.tensors.push_back(make_tensor(pairs[i].from, {static_cast<std::int64_t>(i) + 1},
                                       std::vector<float>(i + 1, static_cast<float>(i))));
  }
  return file;
}

void expect_renamed(const TensorFile& got, const std::vector<Pair>& pairs) {
  ASSERT_EQ(got.tensors.size(), pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const Tensor* tensor = got.find(pairs[i].to);
    ASSERT_NE(tensor, nullptr) << pairs[i].from << " should be " << pairs[i].to;
    EXPECT_EQ(to_float(*tensor), std::vector<float>(i + 1, static_cast<float>(i)));
    EXPECT_EQ(tensor->shape, std::vector<std::int64_t>{static_cast<std::int64_t>(i) + 1});
  }
}

TEST(SourceNames, Timm) {
  const TensorFile got = translate_weights(numbered(kTimm), "model.safetensors");
  expect_renamed(got, kTimm);
  EXPECT_EQ(got.metadata.at("source_family"), "timm");
  EXPECT_EQ(got.metadata.at("bn_eps"), "1e-05");
  EXPECT_EQ(got.metadata.at("pad_mode"), "torch");
}

TEST(SourceNames, HuggingFace) {
  const TensorFile got = translate_weights(numbered(kHf), "model.safetensors");
  expect_renamed(got, kHf);
  EXPECT_EQ(got.metadata.at("source_family"), "hf");
  EXPECT_EQ(got.metadata.at("bn_eps"), "0.001");
  EXPECT_EQ(got.metadata.at("bn_momentum"), "0.003");
  EXPECT_EQ(got.metadata.at("pad_mode"), "tf_same");
  EXPECT_EQ(got.metadata.at("mean"), "0.5,0.5,0.5");
  EXPECT_EQ(got.metadata.at("std"), "0.5,0.5,0.5");
}

TEST(SourceNames, HuggingFaceBackboneHasNoPrefix) {
  const std::string prefix = "mobilenet_v2.";
  TensorFile bare = numbered(kHf);
  for (Tensor& tensor : bare.tensors) {
    if (tensor.name.starts_with(prefix)) tensor.name.erase(0, prefix.size());
  }
  const TensorFile got = translate_weights(bare, "model.safetensors");
  expect_renamed(got, kHf);
}

// torchvision's first layout: all modules of a block in a row.
const std::vector<Pair> kFlat = {
    {"features.0.0.weight", "features.0.0.weight"},
    {"features.0.1.running_mean", "features.0.1.running_mean"},
    {"features.1.conv.0.weight", "features.1.conv.0.0.weight"},
    {"features.1.conv.1.bias", "features.1.conv.0.1.bias"},
    {"features.1.conv.3.weight", "features.1.conv.1.weight"},
    {"features.1.conv.4.running_var", "features.1.conv.2.running_var"},
    {"features.2.conv.0.weight", "features.2.conv.0.0.weight"},
    {"features.2.conv.1.weight", "features.2.conv.0.1.weight"},
    {"features.2.conv.3.weight", "features.2.conv.1.0.weight"},
    {"features.2.conv.4.bias", "features.2.conv.1.1.bias"},
    {"features.17.conv.6.weight", "features.17.conv.2.weight"},
    {"features.17.conv.7.running_mean", "features.17.conv.3.running_mean"},
    {"features.18.0.weight", "features.18.0.weight"},
    {"features.18.1.bias", "features.18.1.bias"},
    {"classifier.weight", "classifier.1.weight"},
    {"classifier.bias", "classifier.1.bias"}};

TEST(SourceNames, TorchvisionsFirstLayout) {
  const TensorFile got = translate_weights(numbered(kFlat), "model.pth");
  expect_renamed(got, kFlat);
  EXPECT_EQ(got.metadata.at("source_family"), "torchvision");
}

TEST(SourceNames, AnythingMayStandBeforeTheNames) {
  for (const std::string before :
       {"module.", "model.", "_orig_mod.", "backbone.", "net.", "state_dict.", "a b.c.",
        "model_state_dict.module._orig_mod.encoder."}) {
    for (const auto* pairs : {&kFlat, &kTimm, &kHf}) {
      TensorFile file = numbered(*pairs);
      for (Tensor& tensor : file.tensors) tensor.name.insert(0, before);
      file.tensors.push_back(make_tensor("optimizer.step", {1}, std::vector<float>{3}));
      TensorFile got = translate_weights(file, "model.pth");
      EXPECT_EQ(got.tensors.back().name, "optimizer.step");
      got.tensors.pop_back();
      SCOPED_TRACE(before);
      expect_renamed(got, *pairs);
    }
  }
}

TEST(SourceNames, WrappersInsideANameAreNoPartOfIt) {
  TensorFile file = numbered(kFlat);
  for (Tensor& tensor : file.tensors)
    if (tensor.name.starts_with("features.")) tensor.name.insert(9, "module.");
  expect_renamed(translate_weights(file, "model.pth"), kFlat);
}

TEST(SourceNames, TheBaseMayStandAlone) {
  for (const std::string before : {"", "backbone.body.", "0."}) {
    TensorFile file = numbered(kFlat);
    std::erase_if(file.tensors, [](const Tensor& t) { return t.name.starts_with("classifier"); });
    std::vector<Pair> pairs(kFlat.begin(), kFlat.end() - 2);
    for (Tensor& tensor : file.tensors) tensor.name = before + tensor.name.substr(9);
    SCOPED_TRACE(before);
    expect_renamed(translate_weights(file, "model.pth"), pairs);
  }
}

TEST(SourceNames, TrainedWeightsComeBeforeTheirAverage) {
  const TensorFile once = numbered(kFlat);
  for (const std::string average : {"model_ema", "ema.shadow", "Teacher", "swa_model"}) {
    TensorFile file;
    for (const std::string& owner : {average, std::string("net")})
      for (Tensor tensor : once.tensors) {
        tensor.name = owner + "." + tensor.name;
        if (owner == average) tensor = make_tensor(tensor.name, {1}, std::vector<float>{-1});
        file.tensors.push_back(tensor);
      }
    const TensorFile got = translate_weights(file, "model.pth");
    EXPECT_EQ(got.metadata.at("source_entry"), "net");
    EXPECT_EQ(got.find("features.2.conv.0.0.weight")->count(), 7);
  }
}

TEST(SourceNames, WhatTheFileSaysIsKept) {
  TensorFile file = numbered(kTimm);
  file.metadata = {{"bn_eps", "0.002"}, {"source_family", "mine"}};
  const TensorFile got = translate_weights(file, "model.safetensors");
  EXPECT_EQ(got.metadata.at("bn_eps"), "0.002");
  EXPECT_EQ(got.metadata.at("source_family"), "mine");
}

TEST(SourceNames, TorchvisionAndUnknownNamesStay) {
  TensorFile file = numbered({{"features.0.0.weight", ""}, {"head.fc1.weight", ""}, {"odd", ""}});
  const TensorFile got = translate_weights(file, "model.safetensors");
  EXPECT_EQ(got.metadata.at("source_family"), "torchvision");
  for (const Tensor& tensor : file.tensors) EXPECT_NE(got.find(tensor.name), nullptr);
}

TEST(SourceNames, WhatIsAssumedOfADetectorIsSaid) {
  for (const auto& [pairs, pixels] :
       {std::pair{&kTimm, "scaled as for ImageNet"}, {&kHf, "from -1 to 1"}}) {
    TensorFile file = numbered(*pairs);
    for (const char* name : {"head.fc1.weight", "head.fc2.weight"}) {
      EXPECT_FALSE(translate_weights(file, "FILE").metadata.contains(kAssumed)) << "no detector";
      file.tensors.push_back(make_tensor(name, {1}, std::vector<float>{1}));
    }
    const bool tensorflow = pairs == &kHf;
    const std::string rest = tensorflow ? "bn_eps is 0.001\npad_mode is tf_same\n"
                                        : "bn_eps is 1e-05\npad_mode is torch\n";
    EXPECT_EQ(translate_weights(file, "FILE").metadata.at(kAssumed),
              "label 1 means fake\npictures have 224 pixels a side\npixels " + std::string(pixels) +
                  " go in\n" + rest + "temperature is 1\n");
    file.metadata = {{"positive_class", "fake"}, {"input_size", "96"}, {"mean", "0,0,0"}};
    file.metadata["temperature"] = "2";
    EXPECT_EQ(translate_weights(file, "FILE").metadata.at(kAssumed), rest);
  }
}

TEST(SourceNames, TensorsWithoutCounterpartKeepTheirNames) {
  TensorFile file = numbered(kTimm);
  file.tensors.push_back(make_tensor("blocks.1.2.conv_pw.weight", {1}, std::vector<float>{1}));
  EXPECT_NE(translate_weights(file, "deeper").find("blocks.1.2.conv_pw.weight"), nullptr);
}

// Each of which would be looked through.
TEST(SourceNames, HundredsOfNetworksAreRefused) {
  TensorFile file;
  for (int i = 0; i < 300; ++i)
    for (const char* name : {"features.0.0.weight", "features.1.conv.0.0.weight"})
      file.tensors.push_back(
          make_tensor(std::to_string(i) + "." + name, {1}, std::vector<float>{1}));
  const auto message = test::message_of<ModelFileError>([&] { translate_weights(file, "FILE"); });
  EXPECT_TRUE(message.starts_with("FILE: holds the beginnings of too many")) << message;
}

TEST(SourceNames, TwoTensorsOfOneNameAreRefused) {
  TensorFile file = numbered(kTimm);
  file.tensors.push_back(make_tensor("features.0.0.weight", {1}, std::vector<float>{1}));
  const auto message =
      test::message_of<ModelFileError>([&] { translate_weights(file, "model.safetensors"); });
  EXPECT_NE(message.find("features.0.0.weight"), std::string::npos) << message;
}

}  // namespace
}  // namespace dfengine::weights
