#include "weights/onnx/onnx_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/base/error.h"

#if DFENGINE_ONNX
#include <algorithm>
#include <array>
#include <limits>
#include <unordered_map>

#include "weights/onnx/onnx.pb.h"
#include "weights/onnx/onnx_constants.h"
#include "weights/onnx/onnx_wire.h"
#endif

namespace dfengine::weights {

#if !DFENGINE_ONNX

bool onnx_supported() {
  return false;
}

TensorFile parse_onnx(std::span<const std::byte>, const std::string& name, const FileBeside&) {
  throw ModelFileError(name +
                       ": is an ONNX model, and this build reads none: install libprotobuf-dev and "
                       "protobuf-compiler and configure with -DDFENGINE_ONNX=ON");
}

#else

namespace {

namespace pb = onnx_format;

// A node's attributes by name.
class Attributes {
 public:
  explicit Attributes(const pb::Node& node) : node_(node) {}

  const pb::Attribute* find(std::string_view name) const {
    for (const pb::Attribute& a : node_.attribute())
      if (a.name() == name) return &a;
    return nullptr;
  }
  std::int64_t integer(std::string_view name, std::int64_t absent) const {
    const pb::Attribute* a = find(name);
    return a ? a->i() : absent;
  }
  float number(std::string_view name, float absent) const {
    const pb::Attribute* a = find(name);
    return a ? a->f() : absent;
  }
  std::string text(std::string_view name) const {
    const pb::Attribute* a = find(name);
    return a ? a->s() : "";
  }
  std::vector<std::int64_t> integers(std::string_view name,
                                     std::vector<std::int64_t> absent) const {
    const pb::Attribute* a = find(name);
    if (a == nullptr) return absent;
    return {a->ints().begin(), a->ints().end()};
  }

 private:
  const pb::Node& node_;
};

std::string joined(const std::vector<std::int64_t>& values) {
  return fmt::format("{}", fmt::join(values, ","));
}

class GraphReader {
 public:
  GraphReader(const pb::Graph& graph, std::size_t file_size, const FileBeside& beside,
              const std::string& name)
      : graph_(graph), name_(name), constants_(file_size, beside, name) {}

  TensorFile read() {
    for (const pb::Tensor& t : graph_.initializer()) constants_.add(t.name(), t);
    read_input();
    for (const pb::Node& node : graph_.node()) read_node(node);
    file_.metadata[kOnnxNodes] = std::move(lines_);
    return std::move(file_);
  }

 private:
  using Pads = std::array<std::int64_t, 4>;  // top, left, bottom, right

  [[noreturn]] void fail(const std::string& cause) const {
    throw ModelFileError(name_ + ": ONNX model: " + cause);
  }
  [[noreturn]] void fail(const pb::Node& node, const std::string& cause) const {
    fail(fmt::format("{} node \"{}\": {}", printable(node.op_type()), printable(node.name()),
                     cause));
  }

  // The one input that is no constant (before IR version 4 constants are listed as inputs too).
  void read_input() {
    int inputs = 0;
    for (const pb::ValueInfo& value : graph_.input()) {
      if (constants_.contains(value.name())) continue;
      if (++inputs > 1) fail("has more than one input, a classifier of pictures has one");
      operands_[value.name()] = "input";
      const auto& dims = value.type().tensor_type().shape().dim();
      // A square of a stated side, NCHW or NHWC.
      for (const int height : {2, 1}) {
        if (dims.size() != 4 || dims[height].dim_value() <= 1 ||
            dims[height].dim_value() != dims[height + 1].dim_value())
          continue;
        file_.metadata[kOnnxInputSize] = std::to_string(dims[height].dim_value());
        break;
      }
    }
    if (inputs == 0) fail("has no input");
  }

  void read_node(const pb::Node& node) {
    if (node.output().empty()) fail(node, "has no output");
    const std::string& op = node.op_type();
    const bool standard = node.domain().empty() || node.domain() == "ai.onnx";
    if (!standard) return append(node, generic(node, node.domain() + "." + op));
    if (op == "Constant") return constants_.add(node.output(0), node);
    if (is_idle(node)) return alias(node);
    if (is_shape_arithmetic(node)) return;
    if (op == "Conv") return append(node, convolution(node));
    if (op == "Gemm") return append(node, gemm(node));
    if (op == "MatMul" && constant(node, 1) != nullptr) return append(node, product(node));
    if (op == "BatchNormalization") return append(node, norm(node));
    if (op == "Clip") return append(node, clip(node));
    if (op == "Pad" && pad(node)) return;
    if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div" || op == "Min" || op == "Max")
      return arithmetic(node);
    append(node, generic(node, averages_pixels(node) ? "GlobalAveragePool" : op));
  }

  // Behind a Shape these compute on sizes. Of what is made of the pixels they choose or join parts.
  bool is_shape_arithmetic(const pb::Node& node) const {
    constexpr std::string_view kOps[] = {"Gather", "Concat", "Slice", "Expand"};
    if (std::ranges::find(kOps, node.op_type()) == std::end(kOps)) return node.op_type() == "Shape";
    return std::ranges::none_of(node.input(), [&](const auto& x) { return operands_.contains(x); });
  }

  // Whether the node gives its first operand unchanged, or is part of shape arithmetic.
  bool is_idle(const pb::Node& node) const {
    constexpr std::string_view kAlways[] = {"Identity", "Dropout", "CastLike", "Unsqueeze"};
    constexpr std::string_view kReshapes[] = {"Flatten", "Reshape", "Squeeze"};
    const std::string& op = node.op_type();
    const auto is_one_of = [&](const auto& ops) {
      return std::ranges::find(ops, op) != std::end(ops);
    };
    // A constant stays what it is, up to axes that no reader of it looks at.
    if (constant(node, 0) != nullptr && (is_one_of(kReshapes) || op == "Expand")) return true;
    if (is_one_of(kReshapes)) return !pooled_.empty() && operand(node, 0) == pooled_;
    if (op == "Cast") return constant(node, 0) != nullptr || operand(node, 0) == "?" || keeps(node);
    const std::vector<std::int64_t> kToNchw = {0, 3, 1, 2};
    if (op == "Transpose" && convolutions_ == 0)
      return Attributes(node).integers("perm", {}) == kToNchw;
    return is_one_of(kAlways);
  }

  // Whether a Cast is to floats; other numbers would be cut off.
  static bool keeps(const pb::Node& cast) {
    constexpr std::int64_t kFloats[] = {1, 10, 11, 16};  // FLOAT, FLOAT16, DOUBLE, BFLOAT16
    return std::ranges::find(kFloats, Attributes(cast).integer("to", 0)) != std::end(kFloats);
  }

  // ReduceMean over H and W, its axes an attribute or, since opset 18, an input.
  bool averages_pixels(const pb::Node& node) {
    if (node.op_type() != "ReduceMean") return false;
    std::vector<std::int64_t> axes = Attributes(node).integers("axes", {});
    if (const pb::Tensor* t = constant(node, 1)) axes = constants_.integers(*t);
    for (std::int64_t& axis : axes)
      if (axis < 0) axis += 4;
    std::ranges::sort(axes);
    return axes == std::vector<std::int64_t>{2, 3};
  }

  void alias(const pb::Node& node) {
    if (const pb::Tensor* t = constant(node, 0)) return constants_.add(node.output(0), *t);
    const std::string of = operand(node, 0);
    if (of != "?") define(node, of);  // else shape arithmetic
  }

  void append(const pb::Node& node, const std::string& line) {
    const std::string number = fmt::format("%{}", count_++);
    define(node, number);
    if (line.starts_with("GlobalAveragePool ")) pooled_ = number;
    lines_ += line + "\n";
  }

  void define(const pb::Node& node, const std::string& operand) {
    if (constants_.contains(node.output(0)) || !operands_.emplace(node.output(0), operand).second)
      fail(node, fmt::format("its output \"{}\" exists already", printable(node.output(0))));
  }

  static bool has(const pb::Node& node, int i) {
    return i < node.input_size() && !node.input(i).empty();
  }

  std::string operand(const pb::Node& node, int i) const {
    if (i >= node.input_size()) return "?";
    // Zeros around an activation are known to convolutions alone.
    if (pads_.contains(node.input(i)) && node.op_type() != "Conv") return "?";
    const auto found = operands_.find(node.input(i));
    return found == operands_.end() ? "?" : found->second;
  }

  const pb::Tensor* constant(const pb::Node& node, int i) const {
    return i < node.input_size() ? constants_.find(node.input(i)) : nullptr;
  }

  std::string generic(const pb::Node& node, std::string_view op) const {
    std::string line = printable(op);
    for (int i = 0; i < std::min(node.input_size(), 2); ++i) {
      if (constant(node, i) == nullptr || i == 0) line += " " + operand(node, i);
    }
    return line;
  }

  std::string convolution(const pb::Node& node) {
    const std::string name = fmt::format("conv{}", convolutions_++);
    const std::vector<std::int64_t> shape = take(node, 1, name + ".weight");
    if (shape.size() != 4)
      fail(node,
           fmt::format("its weight has shape [{}], need 4 dimensions", fmt::join(shape, ", ")));
    if (has(node, 2) && !is_zero(node, 2)) take(node, 2, name + ".bias");
    const Attributes a(node);
    const std::string automatic = a.text("auto_pad");
    std::vector<std::int64_t> pads = a.integers("pads", {0, 0, 0, 0});
    bool explicit_pads = automatic.empty() || automatic == "NOTSET" || automatic == "VALID";
    if (const auto before = pads_.find(node.input(0)); before != pads_.end()) {
      if (!explicit_pads || pads.size() != 4) fail(node, "is padded twice in different ways");
      for (std::size_t i = 0; i < 4; ++i) pads[i] += before->second[i];
    }
    return fmt::format("Conv {} kernel {} strides {} dilations {} group {} pads {}",
                       operand(node, 0), joined(a.integers("kernel_shape", {shape[2], shape[3]})),
                       joined(a.integers("strides", {1, 1})),
                       joined(a.integers("dilations", {1, 1})), a.integer("group", 1),
                       explicit_pads ? joined(pads) : printable(automatic));
  }

  // A constant of one zero, which an exporter adds where there is no bias.
  bool is_zero(const pb::Node& node, int i) {
    const pb::Tensor* t = constant(node, i);
    return t != nullptr && t->dims().empty() && scalar(node, *t) == 0;
  }

  // Remembers zeros around an activation for the convolution that takes it. False for other pads.
  bool pad(const pb::Node& node) {
    std::vector<std::int64_t> by = Attributes(node).integers("pads", {});
    if (const pb::Tensor* t = constant(node, 1)) by = constants_.integers(*t);
    const std::string mode = Attributes(node).text("mode");
    const pb::Tensor* value = constant(node, 2);
    const bool zeros = (mode.empty() || mode == "constant") &&
                       (value == nullptr || scalar(node, *value) == 0) && (!has(node, 2) || value);
    // NCHW: those at the beginning of each axis, then those at the end.
    if (!zeros || by.size() != 8 || by[0] != 0 || by[1] != 0 || by[4] != 0 || by[5] != 0 ||
        operand(node, 0) == "?")
      return false;
    define(node, operand(node, 0));
    pads_[node.output(0)] = {by[2], by[3], by[6], by[7]};
    return true;
  }

  // Bounds are attributes before opset 11, inputs since.
  std::string clip(const pb::Node& node) {
    const auto bound = [&](int i, const char* attribute) -> std::string {
      if (const pb::Attribute* a = Attributes(node).find(attribute))
        return fmt::format("{}", a->f());
      if (const pb::Tensor* t = constant(node, i)) return fmt::format("{}", scalar(node, *t));
      return has(node, i) ? "?" : "none";
    };
    return fmt::format("Clip {} {} {}", operand(node, 0), bound(1, "min"), bound(2, "max"));
  }

  float scalar(const pb::Node& node, const pb::Tensor& tensor) {
    const Tensor t = constants_.read(tensor, "bound");
    if (t.count() != 1) fail(node, "a bound is not one number");
    return to_float(t)[0];
  }

  std::string gemm(const pb::Node& node) {
    const std::string name = fmt::format("gemm{}", gemms_++);
    take(node, 1, name + ".weight");
    if (has(node, 2) && !is_zero(node, 2)) take(node, 2, name + ".bias");
    const Attributes a(node);
    return fmt::format("Gemm {} transA {} transB {} alpha {} beta {}", operand(node, 0),
                       a.integer("transA", 0), a.integer("transB", 0), a.number("alpha", 1),
                       a.number("beta", 1));
  }

  std::string product(const pb::Node& node) {
    unbiased_ = fmt::format("%{}", count_);
    take(node, 1, fmt::format("gemm{}.weight", gemms_++));
    return fmt::format("Gemm {} transA 0 transB 0 alpha 1 beta 1", operand(node, 0));
  }

  std::string norm(const pb::Node& node) {
    constexpr std::array kParts = {"weight", "bias", "running_mean", "running_var"};
    const std::string name = fmt::format("norm{}", norms_++);
    for (std::size_t i = 0; i < kParts.size(); ++i)
      take(node, static_cast<int>(i) + 1, fmt::format("{}.{}", name, kParts[i]));
    return fmt::format("BatchNormalization {} eps {}", operand(node, 0),
                       Attributes(node).number("epsilon", 1e-5F));
  }

  void arithmetic(const pb::Node& node) {
    const std::string& op = node.op_type();
    const bool commutes = op != "Sub" && op != "Div";
    const int value = constant(node, 1) != nullptr               ? 1
                      : commutes && constant(node, 0) != nullptr ? 0
                                                                 : -1;
    if (value < 0) return append(node, op == "Add" ? sum(node) : generic(node, op));
    const std::string of = operand(node, 1 - value);
    if (of == "?") return;  // shape arithmetic
    if (op == "Add" && of == unbiased_) {
      take(node, value, fmt::format("gemm{}.bias", gemms_ - 1));
      unbiased_.clear();
      return define(node, of);
    }
    if (op == "Min" || op == "Max") {
      const float bound = scalar(node, *constant(node, value));
      return append(node, op == "Min" ? fmt::format("Clip {} none {}", of, bound)
                                      : fmt::format("Clip {} {} none", of, bound));
    }
    std::string name = op;
    std::ranges::transform(name, name.begin(), [](char c) { return static_cast<char>(c | 0x20); });
    const int number = values_[name]++;
    take(node, value, fmt::format("{}{}.value", name, number));
    append(node, fmt::format("{} {}", op, of));
  }

  std::string sum(const pb::Node& node) const {
    std::string a = operand(node, 0), b = operand(node, 1);
    if (std::pair(b.size(), b) < std::pair(a.size(), a)) std::swap(a, b);
    return fmt::format("Add {} {}", a, b);
  }

  // Copies operand i, a constant, under our name. Returns its shape.
  std::vector<std::int64_t> take(const pb::Node& node, int i, const std::string& name) {
    const pb::Tensor* t = constant(node, i);
    if (t == nullptr) fail(node, fmt::format("operand {} is not a constant of the file", i));
    file_.tensors.push_back(constants_.read(*t, name));
    return file_.tensors.back().shape;
  }

  const pb::Graph& graph_;
  const std::string& name_;
  OnnxConstants constants_;
  std::unordered_map<std::string, std::string> operands_;
  std::unordered_map<std::string, Pads> pads_;
  std::unordered_map<std::string, int> values_;
  std::string pooled_, unbiased_;  // the last MatMul, to which an Add may give its bias
  std::string lines_;
  int count_ = 0, convolutions_ = 0, gemms_ = 0, norms_ = 0;
  TensorFile file_;
};

// Numbers of 8 bits cannot be trained on, and a quantised graph has operators of its own.
void refuse_quantised(const pb::Graph& graph, const std::string& name) {
  for (const pb::Node& node : graph.node()) {
    const std::string& op = node.op_type();
    if (op.ends_with("Integer") || op.starts_with("QLinear") || op.ends_with("QuantizeLinear") ||
        op == "DequantizeLinear")
      throw ModelFileError(name + ": ONNX model: its numbers are quantised (" + printable(op) +
                           "); give the model of floats that it was made from");
  }
}

}  // namespace

bool onnx_supported() {
  return true;
}

TensorFile parse_onnx(std::span<const std::byte> file, const std::string& name,
                      const FileBeside& beside) {
  if (file.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw ModelFileError(name + ": ONNX model: more than 2 GiB");
  check_onnx_wire(file, name);
  pb::Model model;
  if (!model.ParseFromArray(file.data(), static_cast<int>(file.size())))
    throw ModelFileError(name + ": damaged ONNX model: protobuf cannot read it");
  if (!model.has_graph()) throw ModelFileError(name + ": is an ONNX model without a graph");
  refuse_quantised(model.graph(), name);
  TensorFile read = GraphReader(model.graph(), file.size(), beside, name).read();
  for (const pb::Entry& entry : model.metadata_props())
    read.metadata.emplace(entry.key(), entry.value());
  return read;
}

#endif

}  // namespace dfengine::weights
