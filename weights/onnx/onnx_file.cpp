#include "weights/onnx/onnx_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/base/error.h"

#if DFENGINE_ONNX
#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "weights/onnx/onnx.pb.h"
#include "weights/onnx/onnx_wire.h"
#endif

namespace dfengine::weights {

#if !DFENGINE_ONNX

bool onnx_supported() {
  return false;
}

TensorFile parse_onnx(std::span<const std::byte>, const std::string& name) {
  throw ModelFileError(name +
                       ": is an ONNX model, and this build reads none: install libprotobuf-dev and "
                       "protobuf-compiler and configure with -DDFENGINE_ONNX=ON");
}

#else

namespace {

namespace pb = onnx_format;

// TensorProto.DataType of the types a weight may have.
std::optional<DType> dtype_of(int data_type) {
  constexpr std::pair<int, DType> kTypes[] = {
      {1, DType::F32}, {10, DType::F16}, {11, DType::F64}, {16, DType::BF16}};
  for (const auto& [number, dtype] : kTypes)
    if (number == data_type) return dtype;
  return std::nullopt;
}

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

class GraphReader {
 public:
  GraphReader(const pb::Graph& graph, std::size_t file_size, const std::string& name)
      : graph_(graph), bytes_left_(2 * file_size), name_(name) {}

  TensorFile read() {
    for (const pb::Tensor& t : graph_.initializer()) add_constant(t.name(), t);
    read_input();
    for (const pb::Node& node : graph_.node()) read_node(node);
    file_.metadata[kOnnxNodes] = std::move(lines_);
    return std::move(file_);
  }

 private:
  [[noreturn]] void fail(const std::string& cause) const {
    throw ModelFileError(name_ + ": ONNX model: " + cause);
  }
  [[noreturn]] void fail(const pb::Node& node, const std::string& cause) const {
    fail(fmt::format("{} node \"{}\": {}", printable(node.op_type()), printable(node.name()),
                     cause));
  }

  void add_constant(const std::string& name, const pb::Tensor& tensor) {
    if (!constants_.emplace(name, &tensor).second)
      fail(fmt::format("two constants are called \"{}\"", printable(name)));
  }

  // The one input that is no constant (before IR version 4 constants are listed as inputs too).
  void read_input() {
    int inputs = 0;
    for (const pb::ValueInfo& value : graph_.input()) {
      if (constants_.contains(value.name())) continue;
      if (++inputs > 1) fail("has more than one input, a classifier of pictures has one");
      operands_[value.name()] = "input";
      const auto& dims = value.type().tensor_type().shape().dim();
      // NCHW with a stated height that is also the width.
      if (dims.size() == 4 && dims[2].dim_value() > 0 && dims[2].dim_value() == dims[3].dim_value())
        file_.metadata[kOnnxInputSize] = std::to_string(dims[2].dim_value());
    }
    if (inputs == 0) fail("has no input");
  }

  void read_node(const pb::Node& node) {
    if (node.output().empty()) fail(node, "has no output");
    const std::string& op = node.op_type();
    const bool standard = node.domain().empty() || node.domain() == "ai.onnx";
    if (!standard) return append(node, generic(node, node.domain() + "." + op));
    if (op == "Constant") return read_constant(node);
    if (is_shape_arithmetic(op)) return;
    if (op == "Identity" || op == "Dropout" || reshapes_pooled(node)) return alias(node);
    if (op == "Conv") return append(node, convolution(node));
    if (op == "Clip") return append(node, clip(node));
    if (op == "Gemm") return append(node, gemm(node));
    if (op == "Add" && operand(node, 0) != "?" && operand(node, 1) != "?")
      return append(node, sum(node));
    if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div") add_value(node);
    append(node, generic(node, averages_pixels(node) ? "GlobalAveragePool" : op));
  }

  static bool is_shape_arithmetic(std::string_view op) {
    constexpr std::string_view kOps[] = {"Shape", "Gather", "Unsqueeze", "Concat", "Slice", "Cast"};
    return std::ranges::find(kOps, op) != std::end(kOps);
  }

  bool reshapes_pooled(const pb::Node& node) const {
    const std::string& op = node.op_type();
    if (op != "Flatten" && op != "Reshape" && op != "Squeeze") return false;
    return !pooled_.empty() && operand(node, 0) == pooled_;
  }

  // ReduceMean over H and W, its axes an attribute or, since opset 18, an input.
  bool averages_pixels(const pb::Node& node) const {
    if (node.op_type() != "ReduceMean") return false;
    std::vector<std::int64_t> axes = Attributes(node).integers("axes", {});
    if (const pb::Tensor* t = constant(node, 1)) axes = small_integers(*t);
    for (std::int64_t& axis : axes)
      if (axis < 0) axis += 4;
    std::ranges::sort(axes);
    return axes == std::vector<std::int64_t>{2, 3};
  }

  static std::vector<std::int64_t> small_integers(const pb::Tensor& t) {
    if (!t.has_raw_data()) return {t.int64_data().begin(), t.int64_data().end()};
    std::vector<std::int64_t> values(std::min<std::size_t>(t.raw_data().size() / 8, 4));
    std::memcpy(values.data(), t.raw_data().data(), 8 * values.size());
    return values;
  }

  void read_constant(const pb::Node& node) {
    const pb::Attribute* value = Attributes(node).find("value");
    if (value != nullptr && value->has_t()) add_constant(node.output(0), value->t());
  }

  void alias(const pb::Node& node) {
    if (const pb::Tensor* t = constant(node, 0)) return add_constant(node.output(0), *t);
    define(node, operand(node, 0));
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

  std::string operand(const pb::Node& node, int i) const {
    if (i >= node.input_size()) return "?";
    const auto found = operands_.find(node.input(i));
    return found == operands_.end() ? "?" : found->second;
  }

  const pb::Tensor* constant(const pb::Node& node, int i) const {
    if (i >= node.input_size()) return nullptr;
    const auto found = constants_.find(node.input(i));
    return found == constants_.end() ? nullptr : found->second;
  }

  std::string generic(const pb::Node& node, std::string_view op) const {
    std::string line = printable(op);
    for (int i = 0; i < std::min(node.input_size(), 2); ++i) {
      if (constant(node, i) == nullptr || i == 0) line += " " + operand(node, i);
    }
    return line;
  }

  std::string sum(const pb::Node& node) const {
    std::string a = operand(node, 0), b = operand(node, 1);
    if (std::pair(b.size(), b) < std::pair(a.size(), a)) std::swap(a, b);
    return fmt::format("Add {} {}", a, b);
  }

  std::string convolution(const pb::Node& node) {
    const std::string name = fmt::format("conv{}", convolutions_++);
    const std::vector<std::int64_t> shape = take(node, 1, name + ".weight");
    if (shape.size() != 4)
      fail(node,
           fmt::format("its weight has shape [{}], need 4 dimensions", fmt::join(shape, ", ")));
    if (node.input_size() > 2) take(node, 2, name + ".bias");
    const Attributes a(node);
    const auto list = [](const std::vector<std::int64_t>& v) {
      return fmt::format("{}", fmt::join(v, ","));
    };
    const std::string automatic = a.text("auto_pad");
    const bool explicit_pads = automatic.empty() || automatic == "NOTSET";
    return fmt::format(
        "Conv {} kernel {} strides {} dilations {} group {} pads {}", operand(node, 0),
        list(a.integers("kernel_shape", {shape[2], shape[3]})), list(a.integers("strides", {1, 1})),
        list(a.integers("dilations", {1, 1})), a.integer("group", 1),
        explicit_pads ? list(a.integers("pads", {0, 0, 0, 0})) : printable(automatic));
  }

  // Bounds are attributes before opset 11, inputs since.
  std::string clip(const pb::Node& node) const {
    const auto bound = [&](int i, const char* attribute) -> std::string {
      if (const pb::Attribute* a = Attributes(node).find(attribute))
        return fmt::format("{}", a->f());
      if (const pb::Tensor* t = constant(node, i)) return scalar(node, *t);
      return i < node.input_size() && !node.input(i).empty() ? "?" : "none";
    };
    return fmt::format("Clip {} {} {}", operand(node, 0), bound(1, "min"), bound(2, "max"));
  }

  std::string scalar(const pb::Node& node, const pb::Tensor& tensor) const {
    const Tensor t = converted(tensor, "bound");
    if (t.count() != 1) fail(node, "a bound is not one number");
    return fmt::format("{}", to_float(t)[0]);
  }

  std::string gemm(const pb::Node& node) {
    const std::string name = fmt::format("gemm{}", gemms_++);
    take(node, 1, name + ".weight");
    if (node.input_size() > 2) take(node, 2, name + ".bias");
    const Attributes a(node);
    return fmt::format("Gemm {} transA {} transB {} alpha {} beta {}", operand(node, 0),
                       a.integer("transA", 0), a.integer("transB", 0), a.number("alpha", 1),
                       a.number("beta", 1));
  }

  // The constant operand of an arithmetic node, if it has one behind its activation.
  void add_value(const pb::Node& node) {
    std::string name = node.op_type();
    std::ranges::transform(name, name.begin(), [](char c) { return static_cast<char>(c | 0x20); });
    if (constant(node, 1) == nullptr) return;
    const int number = values_[name]++;
    take(node, 1, fmt::format("{}{}.value", name, number));
  }

  // Copies operand i, a constant, under our name. Returns its shape.
  std::vector<std::int64_t> take(const pb::Node& node, int i, const std::string& name) {
    const pb::Tensor* t = constant(node, i);
    if (t == nullptr) fail(node, fmt::format("operand {} is not a constant of the file", i));
    file_.tensors.push_back(converted(*t, name));
    return file_.tensors.back().shape;
  }

  Tensor converted(const pb::Tensor& t, const std::string& name) const {
    const std::string what = fmt::format("constant \"{}\"", printable(t.name()));
    constexpr int kExternal = 1;
    if (t.data_location() == kExternal)
      fail(what +
           " lies in another file (external data); save the model as one file (Python: "
           "onnx.save(onnx.load(IN), OUT), or torch.onnx.export with external_data=False)");
    const std::optional<DType> dtype = dtype_of(t.data_type());
    if (!dtype)
      fail(fmt::format("{} has ONNX data type {}, need float, double, float16 or bfloat16", what,
                       t.data_type()));
    Tensor tensor{name, *dtype, {t.dims().begin(), t.dims().end()}, {}};
    const bool raw = t.has_raw_data();
    const auto* data =
        raw ? t.raw_data().data() : reinterpret_cast<const char*>(t.float_data().data());
    const std::size_t size =
        raw ? t.raw_data().size() : static_cast<std::size_t>(t.float_data_size()) * sizeof(float);
    const std::optional<std::int64_t> count = checked_count(tensor.shape);
    const std::size_t element = dtype_size(*dtype);
    if ((!raw && *dtype != DType::F32) || !count || size % element != 0 ||
        size / element != static_cast<std::size_t>(*count))
      fail(fmt::format("{}: {} bytes do not fit {} [{}]", what, size, dtype_name(*dtype),
                       fmt::join(tensor.shape, ", ")));
    if (size > bytes_left_) fail("its constants are used more often than the file justifies");
    bytes_left_ -= size;
    const auto* begin = reinterpret_cast<const std::byte*>(data);
    tensor.bytes.assign(begin, begin + size);
    return tensor;
  }

  const pb::Graph& graph_;
  mutable std::size_t bytes_left_;  // one constant may serve many nodes
  const std::string& name_;
  std::unordered_map<std::string, const pb::Tensor*> constants_;
  std::unordered_map<std::string, std::string> operands_;
  std::unordered_map<std::string, int> values_;
  std::string pooled_;
  std::string lines_;
  int count_ = 0, convolutions_ = 0, gemms_ = 0;
  TensorFile file_;
};

}  // namespace

bool onnx_supported() {
  return true;
}

TensorFile parse_onnx(std::span<const std::byte> file, const std::string& name) {
  if (file.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw ModelFileError(name + ": ONNX model: more than 2 GiB");
  check_onnx_wire(file, name);
  pb::Model model;
  if (!model.ParseFromArray(file.data(), static_cast<int>(file.size())))
    throw ModelFileError(name + ": damaged ONNX model: protobuf cannot read it");
  if (!model.has_graph()) throw ModelFileError(name + ": is an ONNX model without a graph");
  TensorFile read = GraphReader(model.graph(), file.size(), name).read();
  for (const pb::Entry& entry : model.metadata_props())
    read.metadata.emplace(entry.key(), entry.value());
  return read;
}

#endif

}  // namespace dfengine::weights
