#include "weights/onnx/onnx_cursor.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "kernels/base/error.h"
#include "weights/onnx/onnx_file.h"

namespace dfengine::weights {

std::string_view first_word(std::string_view line) {
  return line.substr(0, line.find(' '));
}

std::vector<double> doubles(const Tensor& tensor) {
  const std::vector<float> values = to_float(tensor);
  return {values.begin(), values.end()};
}

OnnxCursor::OnnxCursor(const TensorFile& file, const std::string& name_for_errors)
    : file_(file), name_(name_for_errors), lines_(lines_of(file.metadata.at(kOnnxNodes))) {}

void OnnxCursor::fail(const std::string& cause) const {
  throw ModelFileError(name_ + ": ONNX model: " + cause);
}

void OnnxCursor::mismatch(const std::string& wanted) const {
  constexpr std::string_view kKnown[] = {
      "Conv", "BatchNormalization", "Clip", "Relu",    "Add",    "Sub", "Mul",
      "Div",  "GlobalAveragePool",  "Gemm", "Sigmoid", "Softmax"};
  std::map<std::string, int> others;
  for (const std::string_view line : lines_) {
    const std::string_view op = first_word(line);
    if (std::ranges::find(kKnown, op) == std::end(kKnown)) ++others[printable(op)];
  }
  std::string list;
  for (const auto& [op, count] : others)
    list += fmt::format("{}{} ({}x)", list.empty() ? "" : ", ", op, count);
  const std::string found =
      at_end() ? "does not exist" : fmt::format("is \"{}\"", printable(lines_[at_]));
  fail(fmt::format("is not MobileNetV2: {}node {} {}, expected \"{}\"",
                   list.empty() ? "" : "it has the operators " + list + ", and ", at_, found,
                   wanted));
}

bool OnnxCursor::next_is(std::string_view op) const {
  return first_word(line()) == op;
}

std::string OnnxCursor::expect(const std::string& wanted) {
  if (line() != wanted) mismatch(wanted);
  return fmt::format("%{}", at_++);
}

std::string OnnxCursor::arithmetic(std::string x, ChannelScale& scale) {
  while (true) {
    const std::string_view op = first_word(line());
    const bool is_known = op == "Add" || op == "Sub" || op == "Mul" || op == "Div";
    if (!is_known || line() != fmt::format("{} {}", op, x)) return x;
    const std::vector<double> by = constant(scale.factor.size());
    for (std::size_t i = 0; i < by.size(); ++i) {
      const double factor = op == "Mul" ? by[i] : op == "Div" ? 1 / by[i] : 1;
      const double shift = op == "Add" ? by[i] : op == "Sub" ? -by[i] : 0;
      scale.factor[i] *= factor;
      scale.shift[i] = scale.shift[i] * factor + shift;
    }
    x = expect(std::string(line()));
  }
}

std::vector<double> OnnxCursor::constant(std::size_t channels) const {
  const std::string_view op = first_word(line());
  // The reader counts the nodes of an operator that have a constant, and so one operand.
  const auto before = lines_.begin() + static_cast<std::ptrdiff_t>(at_);
  const auto number = std::count_if(lines_.begin(), before, [&](std::string_view other) {
    return first_word(other) == op && std::ranges::count(other, ' ') == 1;
  });
  std::string name(op);
  name[0] = static_cast<char>(name[0] | 0x20);
  const Tensor& value = tensor(fmt::format("{}{}.value", name, number));
  const std::vector<double> values = doubles(value);
  if (values.size() == channels) return values;
  if (values.size() != 1)
    fail(fmt::format("{} has {} numbers for {} channels", value.name, values.size(), channels));
  return std::vector<double>(channels, values[0]);
}

const Tensor& OnnxCursor::tensor(const std::string& name) const {
  const Tensor* t = file_.find(name);
  if (t == nullptr) fail(fmt::format("is not a MobileNetV2: no {}", name));
  return *t;
}

}  // namespace dfengine::weights
