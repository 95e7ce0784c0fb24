// Element types, shape arithmetic and conversion of named host tensors.
#include "weights/tensor_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/half.h"

namespace dfengine::weights {
namespace {

static_assert(std::endian::native == std::endian::little, "file data is copied as it is");

struct DTypeRow {
  DType dtype;
  const char* name;
  std::size_t size;
};

constexpr DTypeRow kDTypes[] = {{DType::F64, "F64", 8}, {DType::F32, "F32", 4},
                                {DType::F16, "F16", 2}, {DType::BF16, "BF16", 2},
                                {DType::I64, "I64", 8}, {DType::I32, "I32", 4},
                                {DType::I16, "I16", 2}, {DType::I8, "I8", 1},
                                {DType::U8, "U8", 1},   {DType::Bool, "BOOL", 1}};

const DTypeRow& row_of(DType dtype) {
  const auto row = std::ranges::find(kDTypes, dtype, &DTypeRow::dtype);
  if (row == std::end(kDTypes)) {
    throw UsageError(fmt::format("no element type has number {}", static_cast<int>(dtype)));
  }
  return *row;
}

void check_filled(const Tensor& tensor) {
  const auto count = static_cast<std::size_t>(tensor.count());
  const std::size_t size = dtype_size(tensor.dtype);
  if (tensor.bytes.size() % size != 0 || tensor.bytes.size() / size != count) {
    throw ModelFileError(fmt::format("tensor \"{}\": {} bytes do not fit {} [{}]",
                                     printable(tensor.name), tensor.bytes.size(),
                                     dtype_name(tensor.dtype), fmt::join(tensor.shape, ", ")));
  }
}

// Reads bytes as elements of type Stored and converts each.
template <class Stored, class Convert>
auto converted(const Tensor& tensor, Convert convert) {
  std::vector<decltype(convert(Stored{}))> out(tensor.bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i < out.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, tensor.bytes.data() + i * sizeof(Stored), sizeof(Stored));
    out[i] = convert(stored);
  }
  return out;
}

template <class T>
Tensor make_tensor_of(DType dtype, std::string name, std::vector<std::int64_t> shape,
                      std::span<const T> values) {
  Tensor tensor{std::move(name), dtype, std::move(shape), {}};
  if (static_cast<std::size_t>(tensor.count()) != values.size()) {
    throw ShapeError(fmt::format("tensor \"{}\": {} values do not fill the shape [{}]",
                                 printable(tensor.name), values.size(),
                                 fmt::join(tensor.shape, ", ")));
  }
  const auto bytes = std::as_bytes(values);
  tensor.bytes.assign(bytes.begin(), bytes.end());
  return tensor;
}

}  // namespace

std::size_t dtype_size(DType dtype) {
  return row_of(dtype).size;
}

const char* dtype_name(DType dtype) {
  return row_of(dtype).name;
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (name == row.name) return row.dtype;
  }
  return std::nullopt;
}

std::optional<std::int64_t> checked_count(std::span<const std::int64_t> shape) {
  std::int64_t product = 1;
  bool empty = false;
  for (const std::int64_t dim : shape) {
    if (dim < 0) return std::nullopt;
    if (dim == 0) {
      empty = true;
    } else if (product > std::numeric_limits<std::int64_t>::max() / dim) {
      return std::nullopt;
    } else {
      product *= dim;
    }
  }
  return empty ? 0 : product;
}

std::int64_t Tensor::count() const {
  const auto count = checked_count(shape);
  if (!count) {
    throw ShapeError(fmt::format("tensor \"{}\": impossible shape [{}]", printable(name),
                                 fmt::join(shape, ", ")));
  }
  return *count;
}

const Tensor* TensorFile::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &Tensor::name);
  return found == tensors.end() ? nullptr : &*found;
}

std::vector<float> to_float(const Tensor& tensor) {
  check_filled(tensor);
  switch (tensor.dtype) {
    case DType::F32:
      return converted<float>(tensor, [](float v) { return v; });
    case DType::F64:
      return converted<double>(tensor, [](double v) { return static_cast<float>(v); });
    case DType::F16:
      return converted<std::uint16_t>(tensor, f16_to_float);
    case DType::BF16:
      return converted<std::uint16_t>(tensor, bf16_to_float);
    default:
      throw ModelFileError(fmt::format("tensor \"{}\": has type {}, need F32, F16, BF16 or F64",
                                       printable(tensor.name), dtype_name(tensor.dtype)));
  }
}

std::vector<std::int64_t> to_int64(const Tensor& tensor) {
  check_filled(tensor);
  if (tensor.dtype != DType::I64) {
    throw ModelFileError(fmt::format("tensor \"{}\": has type {}, need I64", printable(tensor.name),
                                     dtype_name(tensor.dtype)));
  }
  return converted<std::int64_t>(tensor, [](std::int64_t v) { return v; });
}

Tensor make_tensor(std::string name, std::vector<std::int64_t> shape,
                   std::span<const float> values) {
  return make_tensor_of(DType::F32, std::move(name), std::move(shape), values);
}

Tensor make_tensor(std::string name, std::vector<std::int64_t> shape,
                   std::span<const std::int64_t> values) {
  return make_tensor_of(DType::I64, std::move(name), std::move(shape), values);
}

// Copied in runs where the last dimensions lie dense.
std::vector<std::byte> gather(std::span<const std::byte> from, std::size_t each,
                              std::int64_t offset, std::span<const std::int64_t> shape,
                              std::span<const std::int64_t> strides) {
  std::size_t outer = shape.size();
  std::int64_t run = 1;
  while (outer > 0 && (strides[outer - 1] == run || shape[outer - 1] == 1)) run *= shape[--outer];
  const std::size_t run_bytes = static_cast<std::size_t>(run) * each;
  std::vector<std::byte> out(static_cast<std::size_t>(checked_count(shape).value()) * each);
  std::vector<std::int64_t> index(outer, 0);
  std::int64_t element = offset;
  for (std::size_t done = 0; done < out.size(); done += run_bytes) {
    std::memcpy(out.data() + done, from.data() + static_cast<std::size_t>(element) * each,
                run_bytes);
    for (std::size_t i = outer; i-- > 0;) {
      if (shape[i] == 1) continue;  // its stride means nothing
      element += strides[i];
      if (++index[i] < shape[i]) break;
      element -= strides[i] * shape[i];
      index[i] = 0;
    }
  }
  return out;
}

Tensor transposed(const Tensor& tensor, std::span<const std::size_t> axes) {
  std::vector<std::int64_t> dense(axes.size(), 1), strides;
  for (std::size_t i = axes.size(); i-- > 1;) dense[i - 1] = dense[i] * tensor.shape[i];
  Tensor out{tensor.name, tensor.dtype, {}, {}};
  for (const std::size_t axis : axes) {
    out.shape.push_back(tensor.shape[axis]);
    strides.push_back(dense[axis]);
  }
  out.bytes = gather(tensor.bytes, dtype_size(tensor.dtype), 0, out.shape, strides);
  return out;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string printable(std::string_view text) {
  constexpr std::size_t kLongest = 120;
  std::string out(text.substr(0, kLongest));
  std::ranges::replace_if(
      out, [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; }, '?');
  if (text.size() > kLongest) out += "...";
  return out;
}

}  // namespace dfengine::weights
