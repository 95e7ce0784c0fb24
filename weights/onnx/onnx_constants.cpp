#if DFENGINE_ONNX
#include "weights/onnx/onnx_constants.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "kernels/base/error.h"
#include "kernels/base/numbers.h"
#include "weights/onnx/onnx.pb.h"

namespace dfengine::weights {
namespace {

namespace pb = onnx_format;

constexpr int kFloat = 1, kInt64 = 7;  // TensorProto.DataType
constexpr int kExternal = 1;           // TensorProto.DataLocation

// Of the types that a weight may have.
std::optional<DType> dtype_of(int data_type) {
  constexpr std::pair<int, DType> kTypes[] = {
      {kFloat, DType::F32}, {10, DType::F16}, {11, DType::F64}, {16, DType::BF16}};
  for (const auto& [number, dtype] : kTypes)
    if (number == data_type) return dtype;
  return std::nullopt;
}

std::string what_of(const pb::Tensor& t) {
  return fmt::format("constant \"{}\"", printable(t.name()));
}

}  // namespace

void OnnxConstants::fail(const std::string& cause) const {
  throw ModelFileError(name_ + ": ONNX model: " + cause);
}

void OnnxConstants::add(const std::string& name, const pb::Tensor& tensor) {
  if (!by_name_.emplace(name, &tensor).second)
    fail(fmt::format("two constants are called \"{}\"", printable(name)));
}

void OnnxConstants::add(const std::string& name, const pb::Node& constant) {
  for (const pb::Attribute& a : constant.attribute()) {
    if (a.has_t()) return add(name, a.t());
    const auto made = std::make_shared<pb::Tensor>();
    if (a.name() == "value_float") {
      made->set_data_type(kFloat);
      made->add_float_data(a.f());
    } else {
      made->set_data_type(kInt64);
      *made->mutable_int64_data() = a.ints();
      if (a.name() == "value_int") made->add_int64_data(a.i());
    }
    made_.push_back(made);
    return add(name, *made);
  }
}

const pb::Tensor* OnnxConstants::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

std::vector<std::int64_t> OnnxConstants::integers(const pb::Tensor& t) {
  constexpr std::size_t kMost = 16;
  if (t.data_type() != kInt64) return {};
  const bool external_data = t.data_location() == kExternal;
  if (!t.has_raw_data() && !external_data) {
    const auto count = std::min<std::size_t>(static_cast<std::size_t>(t.int64_data_size()), kMost);
    return {t.int64_data().begin(), t.int64_data().begin() + static_cast<std::ptrdiff_t>(count)};
  }
  const auto bytes =
      external_data ? external(t, what_of(t)) : std::as_bytes(std::span(t.raw_data()));
  std::vector<std::int64_t> values(std::min(bytes.size() / sizeof(std::int64_t), kMost));
  if (!values.empty())
    std::memcpy(values.data(), bytes.data(), sizeof(std::int64_t) * values.size());
  return values;
}

std::span<const std::byte> OnnxConstants::external(const pb::Tensor& t, const std::string& what) {
  std::string file;
  std::uint64_t offset = 0, length = 0;
  bool has_length = false, sane = true;
  for (const pb::Entry& entry : t.external_data()) {
    const auto take = [&](std::uint64_t& number) {
      const auto value = number_of<std::uint64_t>(entry.value());
      sane = sane && value.has_value();
      number = value.value_or(0);
    };
    if (entry.key() == "location") file = entry.value();
    if (entry.key() == "offset") take(offset);
    if (entry.key() == "length") take(length), has_length = true;
  }
  // A model must not name files elsewhere on the machine.
  const bool bare = !file.empty() && file != "." && file != ".." &&
                    file.find_first_of("/\\") == std::string::npos &&
                    file.find('\0') == std::string::npos;
  if (!bare || !sane)
    fail(
        fmt::format("{} lies in another file (external data) whose place \"{}\" is no name in the "
                    "model's own folder; save the model as one file (Python: "
                    "onnx.save(onnx.load(IN), OUT))",
                    what, printable(file)));
  auto found = files_.find(file);
  if (found == files_.end()) {
    found = files_.emplace(file, beside_(file)).first;
    bytes_left_ += 2 * found->second.size();
  }
  const std::vector<std::byte>& bytes = found->second;
  if (offset > bytes.size()) offset = bytes.size() + 1;
  if (!has_length && offset <= bytes.size()) length = bytes.size() - offset;
  if (offset > bytes.size() || length > bytes.size() - offset)
    fail(
        fmt::format("{} ends behind the end of \"{}\" of {} bytes; that file is cut, or another "
                    "model's",
                    what, printable(file), bytes.size()));
  return std::span(bytes).subspan(offset, length);
}

Tensor OnnxConstants::read(const pb::Tensor& t, const std::string& name) {
  const std::string what = what_of(t);
  constexpr int kBFloat16 = 16, kFloat16 = 10;
  const std::optional<DType> dtype = dtype_of(t.data_type());
  if (!dtype)
    fail(fmt::format("{} has ONNX data type {}, need float, double, float16 or bfloat16", what,
                     t.data_type()));
  Tensor tensor{name, *dtype, {t.dims().begin(), t.dims().end()}, {}};
  std::span<const std::byte> data;
  std::vector<std::uint16_t> halves;  // each in 32 bits of the file
  if (t.data_location() == kExternal) {
    data = external(t, what);
  } else if (t.has_raw_data()) {
    data = std::as_bytes(std::span(t.raw_data()));
  } else if (t.data_type() == kFloat16 || t.data_type() == kBFloat16) {
    for (const int v : t.int32_data()) halves.push_back(static_cast<std::uint16_t>(v));
    data = std::as_bytes(std::span(halves));
  } else if (t.data_type() == kFloat) {
    data = std::as_bytes(
        std::span(t.float_data().data(), static_cast<std::size_t>(t.float_data_size())));
  } else {
    data = std::as_bytes(
        std::span(t.double_data().data(), static_cast<std::size_t>(t.double_data_size())));
  }
  const std::optional<std::int64_t> count = checked_count(tensor.shape);
  const std::size_t element = dtype_size(*dtype);
  if (!count || data.size() % element != 0 ||
      data.size() / element != static_cast<std::size_t>(*count))
    fail(fmt::format("{}: {} bytes do not fit {} [{}]", what, data.size(), dtype_name(*dtype),
                     fmt::join(tensor.shape, ", ")));
  if (data.size() > bytes_left_) fail("its constants are used more often than the file justifies");
  bytes_left_ -= data.size();
  tensor.bytes.assign(data.begin(), data.end());
  return tensor;
}

}  // namespace dfengine::weights
#endif
