// Files that are not dfengine's: the base is taken, what is left out and what is assumed is said.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/model/model.h"
#include "engine/model/model_fit.h"
#include "engine/model/stated.h"
#include "kernels/base/error.h"
#include "tests/weights/scratch_folder.h"
#include "weights/families/source.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

using test::message_of;

NetworkConfig small(Head head) {
  NetworkConfig config;
  config.width = 0.1;
  config.hidden = 8;
  config.classes = 7;
  config.head = head;
  return config;
}

// As others write it: names and values alone.
weights::TensorFile bare(Head head) {
  weights::TensorFile file = model_to_tensors(make_model(small(head), 3));
  file.metadata.clear();
  return file;
}

void add(weights::TensorFile& file, const std::string& name,
         const std::vector<std::int64_t>& shape = {2}) {
  std::int64_t count = 1;
  for (const std::int64_t n : shape) count *= n;
  file.tensors.push_back(
      weights::make_tensor(name, shape, std::vector<float>(static_cast<std::size_t>(count), 0.5F)));
}

std::string remarks_of(const Model& model) {
  std::string all;
  for (const std::string& remark : model.remarks) all += remark + "\n";
  return all;
}

void expect_base_of(const weights::TensorFile& from, const Model& model) {
  for (const weights::Tensor& t : from.tensors)
    if (model.parameters.find(t.name) >= 0) {
      EXPECT_EQ(model.parameters.get(model.parameters.find(t.name)), weights::to_float(t))
          << t.name;
    }
}

TEST(ForeignWeights, OtherHeadsAreLeftOutAndNamed) {
  const std::vector<std::vector<std::pair<const char*, std::vector<std::int64_t>>>> heads = {
      {{"classifier.0.weight", {128, 1280}}, {"classifier.3.weight", {2, 128}}},
      {{"fc.weight", {120, 1280}}, {"fc.bias", {120}}},
      {{"classifier.1.weight", {2, 640}}, {"classifier.1.bias", {2}}},
      {{"classifier.1.weight", {2, 1280}}},
      {{"classifier.1.weight", {8, 1280}},
       {"classifier.1.bias", {8}},
       {"classifier.4.weight", {2, 8}},
       {"classifier.4.bias", {2}}},
      {{"head.fc1.weight", {8, 1280}}, {"head.fc2.weight", {2, 8}}, {"head.fc2.bias", {2}}},
      {{"extras.0.weight", {4, 4, 1, 1}}, {"epoch", {1}}}};
  for (const auto& head : heads) {
    weights::TensorFile file = bare(Head::None);
    for (const auto& [name, shape] : head) add(file, name, shape);
    const Model model = model_from_tensors(weights::TensorFile(file), "FILE");
    EXPECT_EQ(model.config.head, Head::None);
    expect_base_of(file, model);
    for (const auto& [name, shape] : head)
      EXPECT_NE(remarks_of(model).find(name), std::string::npos) << remarks_of(model);
  }
  EXPECT_TRUE(model_from_tensors(bare(Head::Classifier), "FILE").remarks.empty());
}

TEST(ForeignWeights, TensorsInsideTheBaseAreNotLeftOut) {
  weights::TensorFile file = bare(Head::None);
  add(file, "features.3.conv.se.weight");
  const auto message =
      message_of<ModelFileError>([&] { model_from_tensors(weights::TensorFile(file), "FILE"); });
  EXPECT_NE(message.find("1 unexpected: features.3.conv.se.weight"), std::string::npos) << message;
}

TEST(ForeignWeights, OurOwnFilesAreTakenWholeOrNotAtAll) {
  weights::TensorFile file = model_to_tensors(make_model(small(Head::Detector), 3));
  add(file, "more");
  const auto message = message_of<ModelFileError>([&] { model_from_tensors(file, "FILE"); });
  EXPECT_NE(message.find("1 unexpected: more"), std::string::npos) << message;
}

TEST(ForeignWeights, ASizeThatIsNoneLeavesTheBase) {
  weights::TensorFile file = bare(Head::Detector);
  file.metadata["input_size"] = "150";
  const Model model = model_from_tensors(weights::TensorFile(file), "FILE");
  EXPECT_EQ(model.config.head, Head::None);
  EXPECT_EQ(model.config.input_size, 224);
  expect_base_of(file, model);
  EXPECT_NE(remarks_of(model).find("input size 150"), std::string::npos) << remarks_of(model);
}

TEST(ForeignWeights, EntriesThatMeanOtherThingsAreLeftOut) {
  weights::TensorFile file = bare(Head::None);
  file.metadata = {{"arch", "MobileNetV2"},
                   {"bn_eps", "0.002"},
                   {"crop", "0.875"},
                   {"head", "linear"},
                   {"input_size", "(3, 224, 224)"},
                   {"mean", "123.675,116.28,103.53"},
                   {"resize", "256"},
                   {"std", "58.395,57.12,57.375"}};
  const Model model = model_from_tensors(translate_weights(file, "FILE"), "FILE");
  expect_base_of(file, model);
  EXPECT_EQ(model.config.bn_eps, 0.002);
  EXPECT_EQ(model.config.mean, NetworkConfig().mean);
  EXPECT_EQ(model.config.std_dev, NetworkConfig().std_dev);
  for (const char* words :
       {"'crop' is '0.875'", "'head' is 'linear'", "'input_size' is '(3, 224, 224)'",
        "mean 123.675 is", "'resize' is '256'", "standard deviation 58.395 is"})
    EXPECT_NE(remarks_of(model).find(words), std::string::npos) << remarks_of(model);
}

// thop leaves them in every layer that it profiled.
TEST(ForeignWeights, CountersOfAProfilerAreNoPartOfTheBase) {
  weights::TensorFile file = bare(Head::None);
  for (const char* name : {"total_ops", "total_params", "features.3.conv.0.0.total_ops",
                           "features.3.conv.0.0.total_params"})
    add(file, name, {1});
  const Model model = model_from_tensors(weights::TensorFile(file), "FILE");
  expect_base_of(file, model);
  EXPECT_EQ(remarks_of(model), "");
}

TEST(ForeignWeights, OtherNetworksAreRecognised) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"layer1.0.conv1.weight", "ResNet"},
      {"features.1.block.0.0.weight", "MobileNetV3"},
      {"blocks.0.attn.qkv.weight", ""},
      {"class_token", "Vision Transformer"},
      {"features.1.0.attn.relative_position_bias_table", "Swin Transformer"},
      {"trunk_output.block1.block1-0.proj.0.weight", "RegNet"},
      {"patch_embed.proj.weight", "Vision Transformer"}};
  for (const auto& [name, network] : cases) {
    weights::TensorFile file;
    add(file, name);
    const auto message = message_of<ModelFileError>([&] { model_from_tensors(file, "FILE"); });
    EXPECT_NE(message.find(name), std::string::npos) << message;
    EXPECT_EQ(message.find("looks like") != std::string::npos, *network != '\0') << message;
    EXPECT_NE(message.find(network), std::string::npos) << message;
  }
}

// A run that diverged, or a damaged file. What is left out may hold anything.
TEST(ForeignWeights, ValuesThatAreNoNumbersAreNamed) {
  struct Case {
    const char* name;
    float value;
    const char* word;
  };
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Case& c : {Case{"features.5.conv.1.1.running_var", -1, "below 0"},
                        Case{"features.5.conv.1.1.running_var", std::nanf(""), "not a finite"},
                        Case{"features.0.0.weight", infinity, "not a finite"},
                        Case{"features.18.1.bias", -infinity, "not a finite"},
                        Case{"head.fc2.bias", std::nanf(""), "not a finite"}}) {
    for (const bool ours : {false, true}) {
      weights::TensorFile file = model_to_tensors(make_model(small(Head::Detector), 3));
      if (!ours) file.metadata.clear();
      auto& tensor = *std::ranges::find(file.tensors, c.name, &weights::Tensor::name);
      std::vector<float> values = weights::to_float(tensor);
      values.back() = c.value;
      tensor = weights::make_tensor(c.name, tensor.shape, std::span<const float>(values));
      const auto message = message_of<ModelFileError>([&] { model_from_tensors(file, "FILE"); });
      EXPECT_NE(message.find(c.name), std::string::npos) << message;
      EXPECT_NE(message.find(c.word), std::string::npos) << message;
      EXPECT_NE(message.find(std::to_string(values.size() - 1)), std::string::npos) << message;
    }
  }
  weights::TensorFile file = bare(Head::None);
  file.tensors.push_back(weights::make_tensor("best_loss", {1}, std::vector<float>{std::nanf("")}));
  EXPECT_NO_THROW(model_from_tensors(file, "FILE"));
}

TEST(ForeignWeights, ACheckpointIsNamedAsOne) {
  const test::ScratchFolder folder;
  weights::TensorFile file = model_to_tensors(make_model(small(Head::Detector), 3));
  file.metadata[kTrainState] = "{}";
  weights::write_safetensors(folder.path() / "last.ckpt", file);
  const auto message =
      message_of<ModelFileError>([&] { (void)load_model(folder.path() / "last.ckpt"); });
  EXPECT_NE(message.find("is a checkpoint"), std::string::npos) << message;
  EXPECT_NE(message.find("best.safetensors"), std::string::npos) << message;
}

TEST(ForeignWeights, ARunsFolderStandsForItsModel) {
  const test::ScratchFolder folder;
  save_model(folder.path() / "best.safetensors", make_model(small(Head::Detector), 3));
  EXPECT_EQ(load_detector(folder.path()).config.hidden, 8);
}

weights::TensorFile foreign_detector() {
  weights::TensorFile file = bare(Head::Detector);
  file.metadata[weights::kAssumed] = "label 1 means fake\npixels from -1 to 1 go in\nmore\n";
  return file;
}

TEST(ForeignWeights, ADetectorWithoutMetadataSaysWhatIsAssumed) {
  const auto remarks = [](const Stated& stated) {
    weights::TensorFile file = translate_weights(bare(Head::Detector), "FILE");
    apply_stated(file, stated);
    return remarks_of(model_from_tensors(file, "FILE"));
  };
  EXPECT_EQ(remarks({}),
            "assumed: label 1 means fake; pictures have 224 pixels a side; pixels scaled as for "
            "ImageNet go in; bn_eps is 1e-05; pad_mode is torch; temperature is 1\n");
  EXPECT_EQ(remarks({.label_one = LabelOne::Fake, .pixels = PixelRange::Raw, .img_size = 224}),
            "assumed: bn_eps is 1e-05; pad_mode is torch; temperature is 1\n");
}

TEST(Stated, TakesThePlaceOfWhatWasAssumed) {
  const Model assumed = model_from_tensors(foreign_detector(), "FILE");
  EXPECT_EQ(remarks_of(assumed), "assumed: label 1 means fake; pixels from -1 to 1 go in; more\n");
  weights::TensorFile file = foreign_detector();
  apply_stated(file, {.label_one = LabelOne::Real,
                      .pixels = PixelRange::ZeroOne,
                      .img_size = 128,
                      .resize = ResizeRule::Nearest,
                      .crop = Crop::Center});
  const Model model = model_from_tensors(file, "FILE");
  EXPECT_EQ(remarks_of(model), "assumed: more\n");
  EXPECT_EQ(model.config.mean, (std::array<double, 3>{0, 0, 0}));
  EXPECT_EQ(model.config.std_dev, (std::array<double, 3>{1, 1, 1}));
  EXPECT_EQ(model.config.input_size, 128);
  EXPECT_EQ(model.resize, ResizeRule::Nearest);
  EXPECT_EQ(model.crop, Crop::Center);
  for (const char* name : {"head.fc2.weight", "head.fc2.bias"}) {
    const auto before = assumed.parameters.get(assumed.parameters.find(name));
    const auto after = model.parameters.get(model.parameters.find(name));
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(after[i], -before[i]) << name;
  }
  const auto raw = [] {
    weights::TensorFile of = foreign_detector();
    apply_stated(of, {.pixels = PixelRange::Raw});
    return model_from_tensors(of, "FILE");
  }();
  EXPECT_EQ(raw.config.std_dev[0], 1 / 255.0);
  // What the file says itself stays where nothing is stated of it.
  const auto own = [](const Stated& stated) {
    weights::TensorFile of = foreign_detector();
    of.metadata["resize"] = "nearest";
    of.metadata["crop"] = "center";
    apply_stated(of, stated);
    return model_from_tensors(of, "FILE");
  };
  const Model label = own({.label_one = LabelOne::Fake}), crop = own({.crop = Crop::None});
  EXPECT_EQ(label.resize, ResizeRule::Nearest);
  EXPECT_EQ(label.crop, Crop::Center);
  EXPECT_EQ(crop.resize, ResizeRule::Nearest);
  EXPECT_EQ(crop.crop, Crop::None);
}

TEST(Stated, IsForOthersDetectors) {
  weights::TensorFile ours = model_to_tensors(make_model(small(Head::Detector), 3));
  EXPECT_NO_THROW(apply_stated(ours, {}));
  EXPECT_THROW(apply_stated(ours, {.pixels = PixelRange::Raw}), UsageError);
  weights::TensorFile base = bare(Head::None);
  EXPECT_THROW(apply_stated(base, {.label_one = LabelOne::Fake}), UsageError);
}

}  // namespace
}  // namespace dfengine
