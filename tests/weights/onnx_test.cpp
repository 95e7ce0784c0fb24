// The ONNX reader on files that the onnx package wrote, and on damaged ones; the family of folded
// MobileNetV2 networks.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/model/model_fit.h"
#include "kernels/base/error.h"
#include "tests/support/places.h"
#include "tests/weights/scratch_folder.h"
#include "weights/onnx/onnx_file.h"
#include "weights/onnx/onnx_writer.h"
#include "weights/read_file.h"

namespace dfengine::weights {
namespace {

using test::message_of;

std::filesystem::path golden(const char* name) {
  return test::golden_folder() / name;
}

TensorFile parse(std::span<const std::byte> file, const std::string& name) {
  return parse_onnx(file, name, nothing_beside);
}

class Onnx : public testing::Test {
 protected:
  void SetUp() override {
    if (!onnx_supported()) GTEST_SKIP() << "built without DFENGINE_ONNX";
  }
};

std::vector<float> floats(const TensorFile& file, const char* name) {
  const Tensor* t = file.find(name);
  EXPECT_NE(t, nullptr) << name;
  return t ? to_float(*t) : std::vector<float>{};
}

std::vector<float> counting(int count) {
  std::vector<float> values;
  for (int i = 0; i < count; ++i) values.push_back(static_cast<float>(i));
  return values;
}

TEST_F(Onnx, ReadsEveryOperator) {
  const TensorFile file = read_tensor_file(golden("weights_operators.onnx"));
  EXPECT_EQ(file.metadata.at(kOnnxNodes),
            "Sub input\n"
            "Conv %0 kernel 3,3 strides 2,2 dilations 1,1 group 1 pads SAME_UPPER\n"
            "Clip %1 none 6\n"
            "Conv %2 kernel 1,1 strides 1,1 dilations 1,1 group 2 pads 0,0,0,0\n"
            "Add %2 %3\n"
            "GlobalAveragePool %4\n"
            "Gemm %5 transA 0 transB 0 alpha 0.5 beta 1\n"
            "Tanh %6\n");
  EXPECT_EQ(file.metadata.at(kOnnxInputSize), "64");
  EXPECT_EQ(file.metadata.at("note"), "äöü");
  EXPECT_EQ(file.tensors.size(), 6u);
  EXPECT_EQ(floats(file, "sub0.value"), counting(3));
  EXPECT_EQ(floats(file, "conv0.weight"), counting(54));  // float16
  EXPECT_EQ(file.find("conv0.weight")->shape, (std::vector<std::int64_t>{2, 3, 3, 3}));
  EXPECT_EQ(floats(file, "conv0.bias"), (std::vector<float>{0.5f, -0.25f}));
  EXPECT_EQ(floats(file, "conv1.weight"), counting(2));  // double
  EXPECT_EQ(floats(file, "gemm0.weight"), counting(6));
  EXPECT_EQ(floats(file, "gemm0.bias"), (std::vector<float>{7, 8, 9}));
}

// Every prefix is refused or, cut between two fields, read.
TEST_F(Onnx, TruncatedFilesAreRefused) {
  const std::vector<std::byte> whole = read_file(golden("weights_operators.onnx"));
  int refused = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    try {
      parse(std::span(whole).first(size), "cut");
    } catch (const ModelFileError& e) {
      ++refused;
      EXPECT_EQ(std::string(e.what()).rfind("cut: ", 0), 0u) << e.what();
    }
  }
  // The graph is one field, and what stands behind it is short.
  EXPECT_GT(refused, static_cast<int>(whole.size()) - 60);
  const auto message =
      message_of<ModelFileError>([&] { parse(std::span(whole).first(500), "cut"); });
  EXPECT_NE(message.find("at byte "), std::string::npos) << message;
}

// ---- Files built field by field -----------------------------------------------------------------

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  return out + static_cast<char>(value);
}
std::string number(int field, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(field) << 3) + varint(value);
}
std::string block(int field, const std::string& content) {
  return varint(static_cast<std::uint64_t>(field) << 3 | 2) + varint(content.size()) + content;
}

// A graph of one convolution [1, 1, 1, 1] whose weight tensor ends in `rest`.
std::string one_convolution(const std::string& rest) {
  std::string weight = block(8, "w") + rest;
  for (int i = 0; i < 4; ++i) weight += number(1, 1);
  return number(1, 8) +
         block(7, block(1, block(1, "x") + block(1, "w") + block(2, "y") + block(4, "Conv")) +
                      block(5, weight) + block(11, block(1, "x")));
}

std::string reason(const std::string& file) {
  return message_of<ModelFileError>([&] { parse(test::bytes_of(file), "file"); });
}

TEST_F(Onnx, RefusesTensorsItCannotUse) {
  const std::string four_bytes = block(9, "\x01\x02\x03\x04");
  const auto bytes = test::bytes_of(one_convolution(number(2, 1) + four_bytes));
  EXPECT_NE(parse(bytes, "file").find("conv0.weight"), nullptr);
  const std::vector<std::pair<std::string, const char*>> cases = {
      {number(2, 1) + number(14, 1), "external data"},
      {number(2, 1) + number(14, 1) + block(13, block(1, "location") + block(2, "/etc/passwd")),
       "no name in the model's own folder"},
      {number(2, 1) + number(14, 1) + block(13, block(1, "location") + block(2, "w")),
       "no files beside"},
      {number(2, 1) + number(14, 1) + block(13, block(1, "location") + block(2, "w")) +
           block(13, block(1, "length") + block(2, "x")),
       "external data"},
      {number(2, 3) + four_bytes, "data type 3"},
      {number(2, 1) + block(9, "abc"), "3 bytes do not fit F32 [1, 1, 1, 1]"},
      {number(2, 1), "0 bytes do not fit"},
      {number(2, 1) + four_bytes + number(1, 1), "need 4 dimensions"},
      {number(2, 1) + four_bytes + number(1, std::uint64_t{1} << 62), "do not fit"},
      {number(2, 1) + block(9, "\x01\x02") + number(1, ~std::uint64_t{0}), "do not fit"}};
  for (const auto& [rest, word] : cases) {
    const std::string message = reason(one_convolution(rest));
    EXPECT_NE(message.find(word), std::string::npos) << message;
  }
}

TEST_F(Onnx, RefusesDamageWithItsPlace) {
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"\x08\x07\x3a\x05\x0a", "byte 4: truncated: 5 bytes announced, 1 left"},
      {number(1, 8) + "\x3a" + std::string(10, '\xff'), "byte 3: number longer"},
      {number(1, 8) + "\x0b", "byte 2: wire type 3"},
      {number(1, 8), "without a graph"},
      {number(1, 8) + block(7, ""), "has no input"},
      {number(1, 8) + block(7, block(1, block(4, "QLinearConv"))), "quantised (QLinearConv)"}};
  for (const auto& [file, word] : cases) {
    const std::string message = reason(file);
    EXPECT_NE(message.find(word), std::string::npos) << message;
  }
}

// Objects are far larger than the two bytes an empty one takes in the file.
TEST_F(Onnx, RefusesMoreObjectsThanANetworkHas) {
  std::string nodes;
  for (int i = 0; i < 200'001; ++i) nodes += block(1, "");
  const std::string message = reason(number(1, 8) + block(7, nodes));
  EXPECT_NE(message.find("too many fields"), std::string::npos) << message;
}

TEST_F(Onnx, RefusesAConstantThatGrowsByUse) {
  OnnxWriter writer("network");
  writer.input("x", {OnnxWriter::kBatch, 100, 1, 1});
  writer.constant("w", {100, 100, 1, 1}, counting(10'000));
  for (int i = 0; i < 20; ++i) writer.node("Conv", "y" + std::to_string(i), {"x", "w"});
  const auto message = message_of<ModelFileError>([&] { parse(writer.serialize(), "file"); });
  EXPECT_NE(message.find("more often"), std::string::npos) << message;
}

// ---- Family "onnx" ------------------------------------------------------------------------------

class FoldedNetwork : public Onnx {
 protected:
  void SetUp() override {
    Onnx::SetUp();
    if (!IsSkipped()) file_ = read_tensor_file(golden("weights_skeleton.onnx"));
  }
  // The message after the first `from` in the graph's text became `to`.
  std::string refusal(const std::string& from, const std::string& to) const {
    TensorFile file = file_;
    std::string& text = file.metadata.at(kOnnxNodes);
    const std::size_t at = text.find(from);
    if (at == std::string::npos) return "the graph has no " + from;
    text.replace(at, from.size(), to);
    return message_of<ModelFileError>([&] { translate_weights(file, "file"); });
  }
  TensorFile file_;
};

TEST_F(FoldedNetwork, GetsTorchvisionsNames) {
  const TensorFile out = translate_weights(file_, "file");
  EXPECT_EQ(out.tensors.size(), 52u * 5 + 2);
  const std::vector<std::tuple<int, const char*, const char*>> cases = {
      {0, "features.0.0", "features.0.1"},
      {1, "features.1.conv.0.0", "features.1.conv.0.1"},
      {2, "features.1.conv.1", "features.1.conv.2"},
      {3, "features.2.conv.0.0", "features.2.conv.0.1"},
      {4, "features.2.conv.1.0", "features.2.conv.1.1"},
      {5, "features.2.conv.2", "features.2.conv.3"},
      {50, "features.17.conv.2", "features.17.conv.3"},
      {51, "features.18.0", "features.18.1"}};
  for (const auto& [i, conv, norm] : cases) {
    EXPECT_EQ(floats(out, (std::string(conv) + ".weight").c_str())[0], static_cast<float>(i));
    EXPECT_EQ(floats(out, (std::string(norm) + ".bias").c_str())[0], static_cast<float>(100 + i));
    EXPECT_EQ(floats(out, (std::string(norm) + ".running_mean").c_str())[0], 0.0f);
    // Folding it again: gamma / sqrt(var + eps) rounds to 1.
    const double var = floats(out, (std::string(norm) + ".running_var").c_str())[0];
    const double gamma = floats(out, (std::string(norm) + ".weight").c_str())[0];
    EXPECT_EQ(static_cast<float>(gamma / std::sqrt(var + 1e-5)), 1.0f);
  }
  EXPECT_EQ(floats(out, "classifier.1.weight"), counting(6));
  const std::map<std::string, std::string> expected = {
      {"source_family", "onnx"},   {"bn_folded", "yes"},  {"bn_eps", "1e-05"},
      {"pad_mode", "torch"},       {"input_size", "224"}, {"mean", "0.485,0.456,0.406"},
      {"std", "0.229,0.224,0.225"}};
  EXPECT_EQ(out.metadata, expected);
}

TEST_F(FoldedNetwork, AcceptsTheWaysToWriteIt) {
  TensorFile file = file_;
  std::string& text = file.metadata.at(kOnnxNodes);
  for (std::size_t at = 0; (at = text.find("strides 2,2", at)) != std::string::npos; ++at)
    text.replace(text.find("1,1,1,1", at), 7, at % 2 ? "0,0,1,1" : "SAME_UPPER");
  text.replace(text.find("transB 1"), 8, "transB 0");
  std::erase_if(file.tensors, [](const Tensor& t) { return t.name == "gemm0.bias"; });
  std::ranges::find(file.tensors, "gemm0.weight", &Tensor::name)->shape = {2, 3};
  const TensorFile out = translate_weights(file, "file");
  EXPECT_EQ(out.metadata.at("pad_mode"), "tf_same");
  EXPECT_EQ(floats(out, "classifier.1.weight"), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(out.find("classifier.1.weight")->shape, (std::vector<std::int64_t>{3, 2}));
}

// As exporters leave out a bias of zeros.
TEST_F(FoldedNetwork, AnAbsentBiasIsZero) {
  std::erase_if(file_.tensors,
                [](const Tensor& t) { return t.name == "conv3.bias" || t.name == "gemm0.bias"; });
  const TensorFile out = translate_weights(file_, "file");
  EXPECT_EQ(floats(out, "features.2.conv.0.1.bias"), (std::vector<float>{0, 0}));
  EXPECT_EQ(floats(out, "classifier.1.bias"), (std::vector<float>{0, 0, 0}));
}

TEST_F(FoldedNetwork, RefusesOtherNetworks) {
  // features.2's depthwise convolution at stride 1: what the model zoo's mobilenetv2-7 does.
  const std::string strides =
      refusal("Conv %6 kernel 3,3 strides 2,2", "Conv %6 kernel 3,3 strides 1,1");
  EXPECT_NE(strides.find("features.2.conv.1.0"), std::string::npos) << strides;
  EXPECT_NE(strides.find("mobilenetv2-7"), std::string::npos) << strides;
  // MobileNetV3's strides differ, too.
  std::string& nodes = file_.metadata.at(kOnnxNodes);
  const std::string plain = nodes;
  nodes += "HardSwish %1\n";
  EXPECT_NE(refusal("Conv %6 kernel 3,3 strides 2,2", "Conv %6 kernel 3,3 strides 1,1")
                .find("HardSwish (1x)"),
            std::string::npos);
  nodes = plain;
  const std::vector<std::array<const char*, 3>> cases = {
      {"Clip %0 0 6", "BatchNormalization %7 eps 1", "expected \"BatchNormalization %0 eps E\""},
      {"Clip %0 0 6", "Relu %0\nClip %1 0 5", "expected \"Clip %1 none 6\""},
      {"Clip %0 0 6", "HardSwish %0", "HardSwish (1x)"},
      {"Clip %0 0 6", "Clip %0 0 1", "node 1 is \"Clip %0 0 1\", expected \"Clip %0 0 6\""},
      {"Conv %1 kernel", "Conv %0 kernel", "node 2 is"},
      {"group 2 ", "group 1 ", "expected \"Conv %1 kernel 3,3 strides 1,1 dilations 1,1 group 2"},
      {"Add ", "Add %1 ", "expected \"Add "},
  };
  for (const auto& [from, to, word] : cases) {
    const std::string message = refusal(from, to);
    EXPECT_NE(message.find(word), std::string::npos) << message;
  }
}

TEST_F(FoldedNetwork, AHeadThatTheEngineHasNotIsLeftOut) {
  const std::vector<std::array<const char*, 3>> cases = {
      {"alpha 1", "alpha 2", "expected \"Gemm"},
      {"beta 1\n", "beta 1\nRelu %99\n", "expected \"Relu"},
      {"beta 1\n", "beta 1\nTanh %99\n", "it has the operators Tanh (1x)"},
      {"GlobalAveragePool", "GlobalMaxPool", "expected \"GlobalAveragePool"}};
  for (const auto& [from, to, word] : cases) {
    TensorFile file = file_;
    std::string& text = file.metadata.at(kOnnxNodes);
    text.replace(text.find(from), std::string_view(from).size(), to);
    const TensorFile out = translate_weights(file, "file");
    const std::string& cause = out.metadata.at("left_out");
    EXPECT_TRUE(cause.starts_with("its head: ")) << cause;
    EXPECT_NE(cause.find(word), std::string::npos) << cause;
    EXPECT_NE(out.find("gemm0.weight"), nullptr);
    EXPECT_EQ(out.find("classifier.1.weight"), nullptr);
    // Our own is taken whole or not at all.
    file.metadata.insert({{"arch", "mobilenet_v2"}, {"engine_version", "1"}});
    EXPECT_THROW(translate_weights(file, "file"), ModelFileError);
  }
}

// ---- The ways of exporters ----------------------------------------------------------------------

class UnfusedNetwork : public Onnx {
 protected:
  test::ScratchFolder folder_;
  void SetUp() override {
    Onnx::SetUp();
    for (const char* name : {"weights_unfused.onnx", "weights_unfused.onnx.data"})
      std::filesystem::copy_file(golden(name), folder_.path() / name);
  }
  TensorFile read() const { return read_tensor_file(folder_.path() / "weights_unfused.onnx"); }
  std::string refusal() const {
    return message_of<ModelFileError>([&] { (void)read(); });
  }
};

TEST_F(UnfusedNetwork, KeepsItsBatchNormsAndItsHead) {
  const TensorFile out = translate_weights(read(), "file");
  const std::vector<std::tuple<int, const char*, const char*>> cases = {
      {0, "features.0.0", "features.0.1"},
      {4, "features.2.conv.1.0", "features.2.conv.1.1"},
      {51, "features.18.0", "features.18.1"}};
  for (const auto& [i, conv, norm] : cases) {
    const auto number = static_cast<float>(i);
    EXPECT_EQ(floats(out, (std::string(conv) + ".weight").c_str())[0], number);
    EXPECT_EQ(floats(out, (std::string(norm) + ".weight").c_str())[0], number + 1);
    EXPECT_EQ(floats(out, (std::string(norm) + ".bias").c_str())[0], number / 8);
    EXPECT_EQ(floats(out, (std::string(norm) + ".running_mean").c_str())[0], number / 4);
    EXPECT_EQ(floats(out, (std::string(norm) + ".running_var").c_str())[0], number + 0.5F);
  }
  // MatMul has [C, K]; of two outputs the logit is the second less the first.
  EXPECT_EQ(floats(out, "head.fc1.weight"), (std::vector<float>{0, 2, 1, 3}));
  EXPECT_EQ(floats(out, "head.fc1.bias"), (std::vector<float>{1, 2}));
  EXPECT_EQ(floats(out, "head.fc2.weight"), (std::vector<float>{1, 1}));
  EXPECT_EQ(floats(out, "head.fc2.bias"), (std::vector<float>{0}));
  EXPECT_FALSE(out.metadata.contains("bn_folded"));
  EXPECT_EQ(out.metadata.at("bn_eps"), "0.001");
  EXPECT_EQ(out.metadata.at("pad_mode"), "tf_same");
  EXPECT_EQ(out.metadata.at("input_size"), "96");
  EXPECT_EQ(out.metadata.at("assumed"), "label 1 means fake\n");
  for (const char* key : {"mean", "std"})
    EXPECT_FLOAT_EQ(std::stof(out.metadata.at(key)), 0.5F) << key;
}

TEST_F(UnfusedNetwork, RefusesFilesBesideThatDoNotFit) {
  const auto data = folder_.path() / "weights_unfused.onnx.data";
  std::filesystem::resize_file(data, 100);
  EXPECT_NE(refusal().find("ends behind the end of \"weights_unfused.onnx.data\" of 100 bytes"),
            std::string::npos)
      << refusal();
  std::filesystem::remove(data);
  EXPECT_NE(refusal().find("weights_unfused.onnx.data: cannot open"), std::string::npos)
      << refusal();
  // No other folder of the machine is looked at.
  std::string model = test::slurp(folder_.path() / "weights_unfused.onnx");
  for (std::size_t at = 0; (at = model.find("weights_unfused.onnx.data", at)) != std::string::npos;)
    model.replace(at, 25, "../weights_nfused.onnx.da");
  test::spill(folder_.path() / "weights_unfused.onnx", model);
  EXPECT_NE(refusal().find("is no name in the model's own folder"), std::string::npos) << refusal();
}

TEST_F(FoldedNetwork, ReadsReLU6InEveryWay) {
  for (const char* way :
       {"Relu %0\nClip %1 0 6", "Relu %0\nClip %1 none 6", "Clip %0 0 none\nClip %1 none 6",
        "Clip %0 none 6\nRelu %1", "Clip %0 none 6\nClip %1 0 none"}) {
    TensorFile file = file_;
    std::string& text = file.metadata.at(kOnnxNodes);
    text.replace(text.find("Clip %0 0 6"), 11, way);
    // All operands behind it move by one.
    std::string moved;
    int line = 0;
    for (const std::string_view of : lines_of(text)) {
      std::string words(of);
      if (line++ > 2)
        for (std::size_t at = 0; (at = words.find('%', at)) != std::string::npos; ++at) {
          std::size_t end = at + 1;
          while (end < words.size() && std::isdigit(words[end]) != 0) ++end;
          const int number = std::stoi(words.substr(at + 1, end - at - 1));
          words.replace(at + 1, end - at - 1, std::to_string(number + 1));
        }
      moved += words + "\n";
    }
    text = moved;
    EXPECT_EQ(translate_weights(file, "file").tensors.size(), 52u * 5 + 2) << way;
  }
}

TEST_F(FoldedNetwork, RefusesTensorsThatDoNotFit) {
  TensorFile file = file_;
  file.tensors[1] = make_tensor("conv0.bias", {3}, counting(3));
  const auto translate = [&] { translate_weights(file, "file"); };
  EXPECT_NE(message_of<ModelFileError>(translate).find("bias [3] does not fit weight [2, 3, 3, 3]"),
            std::string::npos);
  file.tensors[0] = make_tensor("conv0.weight", {2, 0, 3, 3}, counting(0));
  EXPECT_NE(message_of<ModelFileError>(translate).find("conv0: its weight is empty"),
            std::string::npos);
  file = file_;
  file.metadata["bn_eps"] = "2";
  EXPECT_NE(message_of<ModelFileError>(translate).find("bn_eps"), std::string::npos);
}

}  // namespace
}  // namespace dfengine::weights
