// Keras' names, order and layouts -> torchvision's. The oracles of the names: Keras itself
// (keras_layers.json), torchvision itself (parameter_order of the model's golden).
#include "weights/keras/source_keras.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/model/model.h"
#include "engine/model/model_fit.h"
#include "kernels/base/error.h"
#include "tests/support/places.h"
#include "tests/weights/scratch_folder.h"
#include "weights/read_file.h"

namespace dfengine::weights {
namespace {

using test::message_of;

const std::filesystem::path kGoldens = test::golden_folder();
constexpr std::int64_t kPlain = 2, kExpanded = 4, kClasses = 3;  // the tiny network's channels

// Shapes in Keras' layouts, in Keras' order of a layer's weights.
struct Array {
  std::string leaf;
  std::vector<std::int64_t> shape;
};

std::vector<Array> arrays_of(const KerasRow& row) {
  const bool expand = row.keras.ends_with("_expand") || row.keras.ends_with("_expand_BN");
  const bool first = row.keras.starts_with("expanded_conv");
  const bool depthwise = row.keras.find("_depthwise") != std::string::npos;
  const bool project = row.keras.ends_with("_project");
  const std::int64_t wide = first ? kPlain : kExpanded;
  switch (row.kind) {
    case KerasLayer::Conv:
      if (row.keras == "Conv1") return {{"kernel", {3, 3, 3, kPlain}}};
      if (project) return {{"kernel", {1, 1, wide, kPlain}}};
      return {{"kernel", {1, 1, kPlain, expand ? kExpanded : kPlain}}};
    case KerasLayer::Depthwise:
      return {{"depthwise_kernel", {3, 3, wide, 1}}};
    case KerasLayer::Dense:
      return {{"kernel", {kPlain, kClasses}}, {"bias", {kClasses}}};
    case KerasLayer::Norm:
      break;
  }
  const std::vector<std::int64_t> c = {expand || depthwise ? wide : kPlain};
  return {{"gamma", c}, {"beta", c}, {"moving_mean", c}, {"moving_variance", c}};
}

// Row r's array k: element i is 1000 r + 100 k + i, exact in float.
Tensor numbered(std::string path, std::vector<std::int64_t> shape, std::size_t row,
                std::size_t array) {
  std::vector<float> values(static_cast<std::size_t>(*checked_count(shape)));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(1000 * row + 100 * array + i);
  return make_tensor(std::move(path), std::move(shape), std::span<const float>(values));
}

// A file of the whole tiny network; path_of gives the name of an array.
template <class PathOf>
TensorFile network(PathOf path_of) {
  TensorFile file;
  for (std::size_t r = 0; r < keras_rows().size(); ++r) {
    const auto arrays = arrays_of(keras_rows()[r]);
    for (std::size_t k = 0; k < arrays.size(); ++k)
      file.tensors.push_back(
          numbered(path_of(keras_rows()[r], arrays[k].leaf, k), arrays[k].shape, r, k));
  }
  std::ranges::sort(file.tensors, {}, &Tensor::name);  // as the reader gives them
  return file;
}

// Element of the torch tensor at `at` comes from this place of Keras' array.
std::size_t keras_place(const Array& array, const std::vector<std::int64_t>& at) {
  std::vector<std::int64_t> k = at;
  if (array.leaf == "depthwise_kernel") k = {at[2], at[3], at[0], at[1]};
  if (array.leaf == "kernel" && at.size() == 4) k = {at[2], at[3], at[1], at[0]};
  if (array.leaf == "kernel" && at.size() == 2) k = {at[1], at[0]};
  std::int64_t place = 0;
  for (std::size_t i = 0; i < k.size(); ++i) place = place * array.shape[i] + k[i];
  return static_cast<std::size_t>(place);
}

void expect_tensor(const TensorFile& file, std::size_t r, std::size_t k) {
  const KerasRow& row = keras_rows()[r];
  const Array array = arrays_of(row)[k];
  const std::map<std::string, std::string> suffix = {{"kernel", "weight"},
                                                     {"depthwise_kernel", "weight"},
                                                     {"gamma", "weight"},
                                                     {"beta", "bias"},
                                                     {"bias", "bias"},
                                                     {"moving_mean", "running_mean"},
                                                     {"moving_variance", "running_var"}};
  const std::string name = row.torch + "." + suffix.at(array.leaf);
  const Tensor* tensor = file.find(name);
  ASSERT_NE(tensor, nullptr) << name;
  const auto values = to_float(*tensor);
  std::vector<std::int64_t> at(tensor->shape.size(), 0);
  for (const float value : values) {
    ASSERT_EQ(value, static_cast<float>(1000 * r + 100 * k + keras_place(array, at))) << name;
    for (std::size_t i = at.size(); i-- > 0;) {
      if (++at[i] < tensor->shape[i]) break;
      at[i] = 0;
    }
  }
}

void expect_network(TensorFile file) {
  ASSERT_TRUE(recognise_keras(file));
  file = translate_weights(std::move(file), "test");
  EXPECT_EQ(file.tensors.size(), 262u);
  for (std::size_t r = 0; r < keras_rows().size(); ++r)
    for (std::size_t k = 0; k < arrays_of(keras_rows()[r]).size(); ++k) expect_tensor(file, r, k);
  EXPECT_EQ(file.metadata["source_family"], "keras");
  EXPECT_EQ(file.metadata["bn_eps"], "0.001");
  EXPECT_EQ(file.metadata["pad_mode"], "tf_same");
  EXPECT_EQ(file.metadata["mean"], "0.5,0.5,0.5");
  EXPECT_EQ(file.metadata["std"], "0.5,0.5,0.5");
  EXPECT_FALSE(file.metadata.contains("bn_momentum"));
  for (const auto& [key, value] : file.metadata) EXPECT_EQ(key.find('@'), std::string::npos) << key;
}

// "conv2d_3/vars/0": the row's class and its number among the rows of its class.
std::string counted(const KerasRow& row, std::size_t first) {
  const std::map<KerasLayer, std::string> classes = {{KerasLayer::Conv, "conv2d"},
                                                     {KerasLayer::Depthwise, "depthwise_conv2d"},
                                                     {KerasLayer::Norm, "batch_normalization"},
                                                     {KerasLayer::Dense, "dense"}};
  std::size_t number = first;
  for (const KerasRow& other : keras_rows()) {
    if (&other == &row) break;
    if (other.kind == row.kind) ++number;
  }
  return classes.at(row.kind) + (number == 0 ? "" : fmt::format("_{}", number));
}

TEST(KerasRows, AreKerasLayersInOrder) {
  const auto layers = nlohmann::json::parse(std::ifstream(kGoldens / "keras_layers.json"));
  const std::map<KerasLayer, std::string> classes = {{KerasLayer::Conv, "Conv2D"},
                                                     {KerasLayer::Depthwise, "DepthwiseConv2D"},
                                                     {KerasLayer::Norm, "BatchNormalization"},
                                                     {KerasLayer::Dense, "Dense"}};
  ASSERT_EQ(layers.size(), keras_rows().size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    EXPECT_EQ(keras_rows()[i].keras, layers[i][0]);
    EXPECT_EQ(classes.at(keras_rows()[i].kind), layers[i][1]) << keras_rows()[i].keras;
  }
}

TEST(KerasRows, AreTorchvisionsLayersInOrder) {
  const std::string order = read_tensor_file(kGoldens / "mobilenet_v2_010_torch.safetensors")
                                .metadata.at("parameter_order");
  std::size_t at = 0;
  for (const KerasRow& row : keras_rows()) {
    if (row.kind == KerasLayer::Dense) continue;  // the golden has another head
    const std::size_t found = order.find(row.torch + ".weight", at);
    ASSERT_NE(found, std::string::npos) << row.torch;
    // Nothing but the rest of the layer before it.
    EXPECT_EQ(order.substr(at, found - at).find(".weight"), std::string::npos) << row.torch;
    at = found + row.torch.size() + std::string_view(".weight").size();
  }
  EXPECT_EQ(order.find("features.", order.find("features.18.1.running_var") + 1),
            std::string::npos);
}

TEST(TranslateKeras, StockNames) {
  expect_network(network([](const KerasRow& row, const std::string& leaf, std::size_t) {
    return fmt::format("{0}/{0}/{1}:0", row.stock, leaf);
  }));
}

TEST(TranslateKeras, CurrentNamesInAWholeModel) {
  TensorFile file = network([](const KerasRow& row, const std::string& leaf, std::size_t) {
    return fmt::format("model_weights/{0}/{0}/{1}", row.keras,
                       leaf == "depthwise_kernel" ? "kernel" : leaf);  // Keras 3 writes "kernel"
  });
  file.tensors.push_back(numbered("optimizer_weights/adam/m_0", {2}, 0, 0));
  file.tensors.push_back(numbered("metrics/mean/vars/0", {}, 0, 0));
  expect_network(std::move(file));
}

TEST(TranslateKeras, NestedModel) {
  TensorFile file = network([](const KerasRow& row, const std::string& leaf, std::size_t) {
    return row.kind == KerasLayer::Dense
               ? fmt::format("{0}/{0}/{1}:0", row.keras, leaf)
               : fmt::format("mobilenetv2_1.00_128/{}/{}:0", row.keras, leaf);
  });
  EXPECT_EQ(translate_keras(file, "test").metadata["input_size"], "128");
  expect_network(std::move(file));
}

TEST(TranslateKeras, NumberedByClassAsKeras3) {
  for (const char* models : {"layers", "layers/functional/layers"}) {
    expect_network(network([&](const KerasRow& row, const std::string&, std::size_t k) {
      return fmt::format("{}/{}/vars/{}", models, counted(row, 0), k);
    }));
  }
}

TEST(TranslateKeras, ForeignNamesByLayerNames) {
  // Names that sort against the order.
  const auto foreign = [](const KerasRow& row) {
    return fmt::format("x{}", 999 - (&row - keras_rows().data()));
  };
  TensorFile file = network([&](const KerasRow& row, const std::string& leaf, std::size_t) {
    return fmt::format("{0}/{0}/{1}:0", foreign(row), leaf);
  });
  for (const KerasRow& row : keras_rows()) {
    const std::string layer = foreign(row);
    file.metadata["@layer_names"] += layer + "\n";
    for (const Array& array : arrays_of(row))
      file.metadata[layer + "@weight_names"] += fmt::format("{}/{}:0\n", layer, array.leaf);
  }
  expect_network(std::move(file));
}

TEST(TranslateKeras, ForeignNamesByTheirNumbers) {
  expect_network(network([](const KerasRow& row, const std::string& leaf, std::size_t) {
    return fmt::format("{0}/{0}/{1}:0", counted(row, 7), leaf);
  }));
}

TEST(TranslateKeras, UnknownLayersKeepTheirNames) {
  TensorFile file = network([](const KerasRow& row, const std::string& leaf, std::size_t) {
    return fmt::format("{0}/{0}/{1}:0", row.keras, leaf);
  });
  file.tensors.push_back(numbered("dense/dense/kernel:0", {2, 1}, 0, 0));
  const TensorFile out = translate_keras(std::move(file), "test");
  EXPECT_NE(out.find("dense/dense/kernel:0"), nullptr);
  EXPECT_TRUE(out.metadata.contains("left_out"));
}

// The notebook's model without its configuration, as save_weights writes it.
TEST(TranslateKeras, WeightsAloneBecomeADetector) {
  TensorFile file;
  for (const KerasRow& row : keras_rows()) {
    if (row.kind == KerasLayer::Dense) continue;
    const auto arrays = arrays_of(row);
    for (std::size_t k = 0; k < arrays.size(); ++k)
      file.tensors.push_back(
          numbered(fmt::format("layers/functional/layers/{}/vars/{}", counted(row, 0), k),
                   arrays[k].shape, 0, k));
  }
  // A batch norm of the model's own stands before the base's by its path, and is no part of it.
  for (int k = 0; k < 4; ++k)
    file.tensors.push_back(
        numbered(fmt::format("layers/batch_normalization/vars/{}", k), {kPlain}, 0, 0));
  TensorFile plain = file;
  plain.tensors.resize(plain.tensors.size() - 4);
  for (TensorFile* of : {&file, &plain}) {
    of->tensors.push_back(numbered("layers/dense/vars/0", {kPlain, 3}, 0, 0));
    of->tensors.push_back(numbered("layers/dense/vars/1", {3}, 0, 0));
    of->tensors.push_back(numbered("layers/dense_1/vars/0", {3, 1}, 0, 0));
    of->tensors.push_back(numbered("layers/dense_1/vars/1", {1}, 0, 0));
  }
  const TensorFile out = translate_keras(plain, "test");
  EXPECT_EQ(out.find("head.fc1.weight")->shape, (std::vector<std::int64_t>{3, kPlain}));
  EXPECT_EQ(out.find("head.fc2.weight")->shape, (std::vector<std::int64_t>{1, 3}));
  const std::string& assumed = out.metadata.at("assumed");
  for (const char* line : {"label 1 means fake\n", "pictures have 224", "pixels from -1 to 1",
                           "a ReLU stands between", "passes a sigmoid"})
    EXPECT_NE(assumed.find(line), std::string::npos) << assumed;
  const TensorFile unclear = translate_keras(file, "test");
  EXPECT_EQ(unclear.find("head.fc1.weight"), nullptr);
  EXPECT_NE(unclear.find("features.18.1.weight"), nullptr);
  EXPECT_NE(unclear.metadata.at("left_out").find("batch_normalization"), std::string::npos);
}

TEST(TranslateKeras, RefusesOtherNetworks) {
  const auto counted_file = [] {
    return network([](const KerasRow& row, const std::string&, std::size_t k) {
      return fmt::format("layers/{}/vars/{}", counted(row, 0), k);
    });
  };
  const auto message = [](TensorFile file) {
    return message_of<ModelFileError>([&] { translate_keras(std::move(file), "f.h5"); });
  };
  const auto change = [](TensorFile& file, const char* name, std::vector<std::int64_t> shape) {
    *std::ranges::find(file.tensors, name, &Tensor::name) = numbered(name, std::move(shape), 0, 0);
  };
  TensorFile fewer = counted_file();
  std::erase_if(fewer.tensors, [](const Tensor& t) { return t.name == "layers/conv2d_5/vars/0"; });
  EXPECT_NE(message(fewer).find("34 arrays cannot be its 35 \"kernel\""), std::string::npos);
  TensorFile wider = counted_file();
  change(wider, "layers/conv2d_5/vars/0", {1, 1, 4, 3});
  EXPECT_NE(message(wider).find("features.3.conv.3"), std::string::npos) << message(wider);
  TensorFile window = counted_file();
  change(window, "layers/conv2d_5/vars/0", {3, 3, 4, 2});
  EXPECT_NE(message(window).find("not MobileNetV2"), std::string::npos) << message(window);
  TensorFile rank;
  rank.tensors.push_back(numbered("Conv1/Conv1/depthwise_kernel:0", {2}, 0, 0));
  rank.tensors.push_back(numbered("block_1_depthwise/depthwise_kernel:0", {2}, 0, 0));
  EXPECT_NE(message(rank).find("has shape [2]"), std::string::npos) << message(rank);
  TensorFile twice;
  twice.tensors.push_back(numbered("a/Conv1/kernel:0", {3, 3, 3, 2}, 0, 0));
  twice.tensors.push_back(numbered("b/Conv1/kernel:0", {3, 3, 3, 2}, 0, 0));
  EXPECT_NE(message(twice).find("two arrays are features.0.0.weight"), std::string::npos);
}

TEST(RecogniseKeras, NotTorchvision) {
  TensorFile file;
  file.tensors.push_back(numbered("features.0.0.weight", {2, 3, 3, 3}, 0, 0));
  EXPECT_FALSE(recognise_keras(file));
}

TEST(KerasStockFile, Loads) {
  const auto path = test::data_folder() /
                    "weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  EXPECT_EQ(read_tensor_file(path).tensors.size(), 260u);
  const Model model = load_model(path);
  EXPECT_EQ(model.config.width, 0.35);
  EXPECT_EQ(model.config.head, Head::None);
  EXPECT_EQ(model.config.bn_eps, 1e-3);
  EXPECT_EQ(model.config.bn_momentum, 0.1);
  EXPECT_EQ(model.config.padding, Padding::TfSame);
}

}  // namespace
}  // namespace dfengine::weights
