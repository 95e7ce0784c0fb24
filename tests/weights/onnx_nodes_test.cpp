// Nodes of ONNX that leave values as they are, and those that do not.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/model/model_fit.h"
#include "tests/support/places.h"
#include "weights/onnx/onnx_file.h"
#include "weights/onnx/onnx_writer.h"
#include "weights/read_file.h"

namespace dfengine::weights {
namespace {

TEST(OnnxNodes, OnlyACastToFloatsKeepsValues) {
  if (!onnx_supported()) GTEST_SKIP() << "built without DFENGINE_ONNX";
  constexpr std::int64_t kFloat = 1, kUint8 = 2, kInt32 = 6, kInt64 = 7, kBool = 9, kFloat16 = 10,
                         kDouble = 11;
  const auto nodes = [](std::int64_t to) {
    OnnxWriter writer("network");
    writer.input("x", {OnnxWriter::kBatch, 1, 4, 4});
    writer.node("Cast", "c", {"x"}, {{"to", to}});
    writer.node("Relu", "y", {"c"});
    writer.output("y", {OnnxWriter::kBatch, 1, 4, 4});
    return parse_onnx(writer.serialize(), "file", nothing_beside).metadata.at(kOnnxNodes);
  };
  for (const std::int64_t to : {kFloat, kFloat16, kDouble}) EXPECT_EQ(nodes(to), "Relu input\n");
  for (const std::int64_t to : {kUint8, kInt32, kInt64, kBool})
    EXPECT_EQ(nodes(to), "Cast input\nRelu %0\n");
}

// One that chooses a class behind a softmax turns the answer round.
TEST(OnnxNodes, PartsOfAnActivationAreNoShapeArithmetic) {
  if (!onnx_supported()) GTEST_SKIP() << "built without DFENGINE_ONNX";
  using Nodes = std::vector<std::pair<const char*, std::vector<std::string>>>;
  const auto lines = [](const Nodes& nodes) {
    OnnxWriter writer("network");
    writer.input("x", {OnnxWriter::kBatch, 2, 4, 4});
    writer.integers("index", {1}, DType::I32, std::vector<std::int32_t>{0});
    writer.constant("factor", {1}, std::vector<float>{2});
    writer.node("GlobalAveragePool", "pooled", {"x"});
    for (std::size_t i = 0; i < nodes.size(); ++i)
      writer.node(nodes[i].first, "y" + std::to_string(i), nodes[i].second);
    return parse_onnx(writer.serialize(), "file", nothing_beside).metadata.at(kOnnxNodes);
  };
  const std::string pooled = "GlobalAveragePool input\n", softmax = pooled + "Softmax %0\n";
  for (const std::string op : {"Gather", "Slice", "Expand"})
    EXPECT_EQ(
        lines({{"Softmax", {"pooled"}}, {op.c_str(), {"y0", "index"}}, {"Mul", {"y1", "factor"}}}),
        softmax + op + " %1\nMul %2\n");
  EXPECT_EQ(lines({{"Softmax", {"pooled"}}, {"Concat", {"factor", "y0"}}}),
            softmax + "Concat ? %1\n");
  EXPECT_EQ(lines({{"Softmax", {"pooled"}}, {"Unsqueeze", {"y0", "index"}}}), softmax);
  // As PyTorch's exporter writes x.reshape(x.shape[0], -1).
  EXPECT_EQ(lines({{"Shape", {"pooled"}},
                   {"Gather", {"y0", "index"}},
                   {"Unsqueeze", {"y1", "index"}},
                   {"Concat", {"y2", "index"}},
                   {"Reshape", {"pooled", "y3"}},
                   {"Softmax", {"y4"}}}),
            softmax);
}

// As Caffe's networks take them.
TEST(OnnxNodes, PixelsOfWhichOnlyAMeanIsTakenAreBytes) {
  if (!onnx_supported()) GTEST_SKIP() << "built without DFENGINE_ONNX";
  TensorFile file = read_tensor_file(test::golden_folder() / "weights_unfused.onnx");
  for (const auto& [name, value] : {std::pair{"mul0.value", 1.F}, {"add0.value", -124.F}}) {
    Tensor& tensor = *std::ranges::find(file.tensors, name, &Tensor::name);
    tensor = make_tensor(name, {1}, std::vector<float>{value});
  }
  const auto metadata = translate_weights(file, "file").metadata;
  EXPECT_FLOAT_EQ(std::stof(metadata.at("mean")), 124 / 255.F);
  EXPECT_FLOAT_EQ(std::stof(metadata.at("std")), 1 / 255.F);
}

}  // namespace
}  // namespace dfengine::weights
