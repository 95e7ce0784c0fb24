// Model files: what is written is read back bit by bit; what does not fit is refused by name.
#include "engine/model/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/base/error.h"
#include "kernels/base/sigmoid.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/random_data.h"

namespace dfengine {
namespace {

using Entries = std::map<std::string, std::string>;

NetworkConfig tiny(Head head = Head::Detector) {
  NetworkConfig config;
  config.width = 0.1;
  config.hidden = 8;
  config.classes = 7;
  config.head = head;
  return config;
}

// A file as torchvision writes it: no metadata, a counter beside every batch norm.
weights::TensorFile torchvision_file(const NetworkConfig& config) {
  weights::TensorFile file = model_to_tensors(make_model(config, 3));
  file.metadata.clear();
  std::vector<weights::Tensor> all;
  for (weights::Tensor& t : file.tensors) {
    const std::string name = t.name;
    all.push_back(std::move(t));
    const std::string last = ".running_var";
    if (!name.ends_with(last)) continue;
    const std::vector<std::int64_t> count = {0};
    all.push_back(
        weights::make_tensor(name.substr(0, name.size() - last.size()) + ".num_batches_tracked", {},
                             std::span<const std::int64_t>(count)));
  }
  file.tensors = std::move(all);
  return file;
}

weights::TensorFile detector_file(const Entries& changes = {}) {
  weights::TensorFile file = model_to_tensors(make_model(tiny(), 3));
  for (const auto& [key, value] : changes) file.metadata[key] = value;
  return file;
}

weights::Tensor& tensor(weights::TensorFile& file, const std::string& name) {
  return *std::ranges::find(file.tensors, name, &weights::Tensor::name);
}

void replace(weights::TensorFile& file, const std::string& name, std::vector<std::int64_t> shape,
             std::int64_t count) {
  const std::vector<float> values(static_cast<std::size_t>(count));
  tensor(file, name) = weights::make_tensor(name, std::move(shape), std::span<const float>(values));
}

// The ModelFileError's text; other types and no error are failures.
std::string refusal(const auto& call) {
  try {
    call();
    ADD_FAILURE() << "accepted";
  } catch (const ModelFileError& e) {
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "not a ModelFileError: " << e.what();
  }
  return "";
}

std::string refusal_of(const weights::TensorFile& file) {
  const std::string text = refusal([&] { (void)model_from_tensors(file, "FILE"); });
  EXPECT_TRUE(text.starts_with("FILE: ")) << text;
  return text;
}

void expect_words(const std::string& text, const std::vector<std::string>& words) {
  for (const std::string& w : words)
    EXPECT_NE(text.find(w), std::string::npos) << "'" << w << "' is not in: " << text;
}

Model unusual_model() {
  NetworkConfig config = tiny();
  config.input_size = 128;
  config.padding = Padding::TfSame;
  config.bn_eps = 1e-3;
  config.bn_momentum = 0.01;
  config.mean = {0.1, 1.0 / 3, 0.5};
  config.std_dev = {1, 2e-7, 12.5};
  config.dropout = 0.0;
  Model model = make_model(config, 8);
  for (std::size_t i = 0; i < model.parameters.specs().size(); ++i) {
    const ParamSpec& p = model.parameters.specs()[i];
    const double low = p.role == Role::RunningVar ? 0 : -1;
    const auto values = test::random_uniform<float>(p.count(), i, low);
    model.parameters.set(static_cast<int>(i), std::span<const float>(values));
  }
  model.crop = Crop::Center;
  model.resize = ResizeRule::Bicubic;
  model.classes = {"photo, old", "made \"up\""};
  model.positive_class = "made \"up\"";
  model.threshold = 0.1 + 0.2;
  model.temperature = 1.0 / 3.0;
  model.notes = {{"source_file", "a b.safetensors"}, {"train_args", "{\"x\": \"\\u00e9, é\"}"}};
  return model;
}

TEST(ModelFile, RoundTripIsExact) {
  const test::TempDir folder;
  const auto path = folder.path() / "model.safetensors";
  const Model model = unusual_model();
  save_model(path, model);
  const Model back = load_model(path);
  const NetworkConfig &a = model.config, &b = back.config;
  EXPECT_EQ(b.width, a.width);
  EXPECT_EQ(b.input_size, a.input_size);
  EXPECT_EQ(b.padding, a.padding);
  EXPECT_EQ(b.bn_eps, a.bn_eps);
  EXPECT_EQ(b.bn_momentum, a.bn_momentum);
  EXPECT_EQ(b.mean, a.mean);
  EXPECT_EQ(b.std_dev, a.std_dev);
  EXPECT_EQ(b.head, a.head);
  EXPECT_EQ(b.hidden, a.hidden);
  EXPECT_EQ(b.dropout, a.dropout);
  EXPECT_EQ(back.crop, model.crop);
  EXPECT_EQ(back.resize, model.resize);
  EXPECT_EQ(back.classes, model.classes);
  EXPECT_EQ(back.positive_class, model.positive_class);
  EXPECT_EQ(back.threshold, model.threshold);
  EXPECT_EQ(back.temperature, model.temperature);
  for (const auto& [key, value] : model.notes) EXPECT_EQ(back.notes.at(key), value);
  ASSERT_EQ(back.parameters.bytes(), model.parameters.bytes());
  EXPECT_EQ(std::memcmp(back.parameters.data(), model.parameters.data(),
                        static_cast<std::size_t>(model.parameters.bytes())),
            0);
  // Written again it is the same file.
  const weights::TensorFile first = model_to_tensors(model), second = model_to_tensors(back);
  EXPECT_EQ(first.metadata, second.metadata);
  EXPECT_NO_THROW((void)load_detector(path));
}

TEST(ModelFile, EveryHeadComesBack) {
  for (Head head : {Head::None, Head::Detector, Head::Classifier}) {
    const Model model = make_model(tiny(head), 4);
    const Model back = model_from_tensors(model_to_tensors(model), "FILE");
    EXPECT_EQ(back.config.head, head);
    EXPECT_EQ(back.parameters.total_count(), model.parameters.total_count());
  }
}

TEST(ModelFile, TensorsStandInTorchvisionsOrder) {
  const weights::TensorFile file = model_to_tensors(make_model(tiny(Head::Classifier), 1));
  ASSERT_EQ(file.tensors.size(), 262u);
  EXPECT_EQ(file.tensors[0].name, "features.0.0.weight");
  EXPECT_EQ(file.tensors[4].name, "features.0.1.running_var");
  EXPECT_EQ(file.tensors.back().name, "classifier.1.bias");
}

TEST(ModelFile, WidthFollowsFromTorchvisionsShapes) {
  for (double width : {0.1, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4}) {
    NetworkConfig config = tiny(Head::Classifier);
    config.width = width;
    const Model model = model_from_tensors(torchvision_file(config), "FILE");
    EXPECT_EQ(model.config.width, width);
    EXPECT_EQ(model.config.head, Head::Classifier);
    EXPECT_EQ(model.config.classes, 7);
    EXPECT_EQ(model.config.padding, Padding::Torch);
    EXPECT_EQ(model.config.bn_eps, 1e-5);
    EXPECT_TRUE(model.classes.empty());
  }
}

TEST(ModelFile, EverythingThatDoesNotFitIsListedTogether) {
  weights::TensorFile file = torchvision_file(tiny(Head::Classifier));
  for (const char* name : {"features.3.conv.2.weight", "features.18.1.bias"})
    std::erase_if(file.tensors, [&](const weights::Tensor& t) { return t.name == name; });
  replace(file, "features.0.0.weight", {8, 3, 5, 5}, std::int64_t{8} * 75);
  replace(file, "features.5.conv.0.1.weight", {1, 1, 1, 1}, 1);
  for (const char* name : {"features.19.weight", "extra\n\x1b[31m"}) {
    file.tensors.push_back(file.tensors.back());
    file.tensors.back().name = name;
  }
  const std::string text = refusal_of(file);
  expect_words(text, {"2 missing", "features.3.conv.2.weight", "features.18.1.bias", "2 unexpected",
                      "features.19.weight", "2 misshaped", "features.0.0.weight [8, 3, 5, 5]",
                      "[8, 3, 3, 3]", "features.5.conv.0.1.weight [1, 1, 1, 1]"});
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << "control bytes reach the terminal";
  EXPECT_EQ(text.find("num_batches_tracked"), std::string::npos);
}

TEST(ModelFile, EmptyFile) {
  expect_words(refusal_of({}), {"260 missing"});
}

// Shapes a header may claim without any bytes behind them.
TEST(ModelFile, HostileShapes) {
  const std::int64_t huge = std::int64_t{1} << 62;
  for (const char* name :
       {"features.0.0.weight", "head.fc1.weight", "features.18.1.bias", "head.fc2.bias"})
    for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{huge, 0},
                                                   {0, huge},
                                                   {0},
                                                   {0, 1280},
                                                   {},
                                                   {0, 0, 0, 0},
                                                   {0, 3}}) {
      weights::TensorFile file = detector_file();
      replace(file, name, shape, shape.empty() ? 1 : 0);
      expect_words(refusal_of(file), {name});
    }
}

// All tensors of the head agree with each other, on no hidden units or no classes.
TEST(ModelFile, HeadsOfNothing) {
  weights::TensorFile file = detector_file();
  replace(file, "head.fc1.weight", {0, 1280}, 0);
  replace(file, "head.fc1.bias", {0}, 0);
  replace(file, "head.fc2.weight", {1, 0}, 0);
  expect_words(refusal_of(file), {"head.fc1.weight", "head.fc1.bias", "head.fc2.weight"});
  file = torchvision_file(tiny(Head::Classifier));
  replace(file, "classifier.1.weight", {0, 1280}, 0);
  replace(file, "classifier.1.bias", {0}, 0);
  const Model base = model_from_tensors(file, "FILE");
  EXPECT_EQ(base.config.head, Head::None);
  expect_words(base.remarks.at(0), {"classifier.1.weight", "classifier.1.bias"});
}

TEST(ModelFile, ElementTypesThatAreNoFloats) {
  weights::TensorFile file = detector_file();
  const std::vector<std::int64_t> ones(8, 1);
  tensor(file, "head.fc1.bias") =
      weights::make_tensor("head.fc1.bias", {8}, std::span<const std::int64_t>(ones));
  expect_words(refusal_of(file), {"head.fc1.bias", "I64"});
}

TEST(ModelFile, BadMetadataIsNamed) {
  struct Case {
    std::string key, value, word;
  };
  const Case cases[] = {{"arch", "resnet50", "arch"},
                        {"width_mult", "wide", "width_mult"},
                        {"width_mult", "1.0x", "width_mult"},
                        {"width_mult", "", "width_mult"},
                        {"width_mult", "0", "width"},
                        {"width_mult", "nan", "width"},
                        {"width_mult", "1e300", "width"},
                        {"input_size", "224.5", "input_size"},
                        {"input_size", "225", "input size 225"},
                        {"input_size", "99999999999999999999", "input_size"},
                        {"bn_eps", "-1", "epsilon"},
                        {"bn_eps", "inf", "epsilon"},
                        {"bn_momentum", "2", "momentum"},
                        {"pad_mode", "same", "pad_mode"},
                        {"mean", "0.5,0.5", "mean"},
                        {"mean", "0.5,nan,0.5", "mean"},
                        {"mean", "a,b,c", "mean"},
                        {"mean", "1,,2,3", "mean"},
                        {"std", "1,0,1", "deviation"},
                        {"std", "1,1,1,1", "std"},
                        {"std", "1,-inf,1", "deviation"},
                        {"head", "tail", "head"},
                        {"dropout", "1", "dropout"},
                        {"dropout", "-0.5", "dropout"},
                        {"dropout", "nan", "dropout"},
                        {"crop", "left", "crop"},
                        {"threshold", "half", "threshold"},
                        {"temperature", "warm", "temperature"},
                        {"classes", "real,fa\x1b[31mke", "classes"},
                        {"classes", "real,fa\x7fke", "classes"},
                        {"classes", "real,", "classes"},
                        {"resize", "lanczos", "resize"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.key + " = " + c.value);
    expect_words(refusal_of(detector_file({{c.key, c.value}})), {c.word});
  }
}

// A file that says what it holds is believed: what it lacks is missing, not left out.
TEST(ModelFile, TheHeadThatMetadataPromisesMustBeThere) {
  weights::TensorFile file = model_to_tensors(make_model(tiny(Head::None), 3));
  file.metadata["head"] = "detector";
  expect_words(refusal_of(file), {"4 missing", "head.fc1.weight", "head.fc2.bias"});
  file.metadata.erase("head");
  EXPECT_EQ(model_from_tensors(file, "FILE").config.head, Head::None);
  expect_words(refusal_of(detector_file({{"head", "none"}})), {"4 unexpected", "head.fc1.weight"});
}

TEST(ModelFile, DetectorRefusals) {
  const test::TempDir folder;
  const auto path = folder.path() / "m.safetensors";
  const auto refused = [&](const Model& model) {
    save_model(path, model);
    const std::string text = refusal([&] { (void)load_detector(path); });
    EXPECT_TRUE(text.starts_with(path.string())) << text;
    return text;
  };
  expect_words(refused(make_model(tiny(Head::None), 1)), {"not a detector"});
  expect_words(refused(make_model(tiny(Head::Classifier), 1)), {"not a detector"});
  Model model = make_model(tiny(), 1);
  model.classes = {"real", "fake", "other"};
  expect_words(refused(model), {"two classes"});
  model.classes = {"fake", "real"};
  expect_words(refused(model), {"positive"});
  model.classes = {"fake", "fake"};
  expect_words(refused(model), {"both classes"});
  model.classes = {"real", "fake"};
  for (double threshold : {-0.1, 1.1, std::nan("")}) {
    model.threshold = threshold;
    expect_words(refused(model), {"threshold"});
  }
  model.threshold = 1;
  for (double temperature : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    model.temperature = temperature;
    expect_words(refused(model), {"temperature"});
  }
  model.temperature = 2;
  EXPECT_EQ(model.probability(2 * std::log(3.0)), sigmoid(std::log(3.0)));
  save_model(path, model);
  EXPECT_NO_THROW((void)load_detector(path));
  std::filesystem::remove(path);
  expect_words(refusal([&] { (void)load_detector(path); }), {path.string()});
}

TEST(ModelFile, MakeModelChecksItsConfiguration) {
  NetworkConfig config = tiny();
  config.input_size = 100;
  EXPECT_THROW((void)make_model(config, 1), UsageError);
}

std::vector<float> values_of(const Model& model, const std::string& name) {
  return model.parameters.get(model.parameters.find(name));
}

TEST(WithHead, KeepsTheBaseAndDrawsTheHead) {
  const Model base = make_model(tiny(Head::Classifier), 1);
  const Model detector = with_head(base, tiny(), 2);
  const Model fresh = make_model(tiny(), 2);
  for (const ParamSpec& p : detector.parameters.specs()) {
    const Model& from = p.name.starts_with("features.") ? base : fresh;
    EXPECT_EQ(values_of(detector, p.name), values_of(from, p.name)) << p.name;
  }
  EXPECT_NE(values_of(detector, "head.fc1.weight"),
            values_of(with_head(base, tiny(), 3), "head.fc1.weight"));
}

TEST(WithHead, KeepsAHeadThatFits) {
  const Model model = make_model(tiny(), 1);
  const Model same = with_head(model, tiny(), 2);
  for (const ParamSpec& p : same.parameters.specs())
    EXPECT_EQ(values_of(same, p.name), values_of(model, p.name)) << p.name;
  NetworkConfig wider = tiny();
  wider.hidden = 16;
  const Model other = with_head(model, wider, 2);
  EXPECT_EQ(values_of(other, "head.fc1.weight"),
            values_of(make_model(wider, 2), "head.fc1.weight"));
  EXPECT_EQ(values_of(other, "features.0.0.weight"), values_of(model, "features.0.0.weight"));
}

TEST(WithHead, WidthsMustAgree) {
  NetworkConfig wider = tiny();
  wider.width = 0.35;
  EXPECT_THROW((void)with_head(make_model(tiny(), 1), wider, 2), UsageError);
}

TEST(ModelFile, TorchvisionsImageNetWeights) {
  const auto path = test::data_folder() / "weights/mobilenet_v2_100_torchvision.safetensors";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no ImageNet weights at DFENGINE_DATA";
  const Model model = load_model(path);
  EXPECT_EQ(model.config.width, 1.0);
  EXPECT_EQ(model.config.head, Head::Classifier);
  EXPECT_EQ(model.config.classes, 1000);
  EXPECT_EQ(model.parameters.learned_count(), 3'504'872);
  EXPECT_EQ(model.parameters.specs().size(), 262u);
  expect_words(refusal([&] { (void)load_detector(path); }), {"not a detector"});
}

}  // namespace
}  // namespace dfengine
