// Nodes of ONNX that leave values as they are, and those that do not.
#include <gtest/gtest.h>

#include "weights/onnx/onnx_file.h"
#include "weights/onnx/onnx_writer.h"

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

}  // namespace
}  // namespace dfengine::weights
