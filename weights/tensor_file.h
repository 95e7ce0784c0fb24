// Named tensors in the host's memory, which every reader of weights returns and every writer takes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dfengine::weights {

enum class DType { F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool };

// Bytes of one element.
std::size_t dtype_size(DType dtype);
// The name safetensors uses: "F32", "BOOL", ...
const char* dtype_name(DType dtype);
// The inverse of dtype_name; nothing for a name that is unknown.
std::optional<DType> dtype_from_name(std::string_view name);

// Product of the dimensions, 1 for a scalar (empty shape). Nothing if a dimension is negative or if
// the product of the dimensions that are not zero overflows.
std::optional<std::int64_t> checked_count(std::span<const std::int64_t> shape);

// A dense row-major tensor; bytes holds little-endian elements, last dimension fastest.
struct Tensor {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;

  // The number of elements, by the shape. Throws ShapeError for a shape that checked_count refuses.
  std::int64_t count() const;
};

struct TensorFile {
  std::vector<Tensor> tensors;
  std::map<std::string, std::string> metadata;
  // Whether the file had a digest of its content, which holds.
  bool has_digest = false;

  // The tensor of that name, or null. Valid until tensors changes.
  const Tensor* find(std::string_view name) const;
};

// Elements as float: F32, F16 and BF16 exactly, F64 rounded to nearest.
// Throws ModelFileError naming the tensor for other types, or if bytes does not fit the shape.
std::vector<float> to_float(const Tensor& tensor);

// Elements of an I64 tensor. Throws as to_float.
std::vector<std::int64_t> to_int64(const Tensor& tensor);

// An F32 or I64 tensor. Throws ShapeError if values does not fill shape exactly.
Tensor make_tensor(std::string name, std::vector<std::int64_t> shape,
                   std::span<const float> values);
Tensor make_tensor(std::string name, std::vector<std::int64_t> shape,
                   std::span<const std::int64_t> values);

// Elements of `each` bytes in row-major order of `shape`: that of index i lies i * strides elements
// behind the one at `offset`. All of them must lie in `from`.
std::vector<std::byte> gather(std::span<const std::byte> from, std::size_t each,
                              std::int64_t offset, std::span<const std::int64_t> shape,
                              std::span<const std::int64_t> strides);
// The tensor with axes[i] as its i-th axis. Its bytes must fit its shape.
Tensor transposed(const Tensor& tensor, std::span<const std::size_t> axes);

// The first name, by the alphabet, that two of the items have.
template <class Items, class Name>
std::optional<std::string_view> repeated(const Items& items, Name name) {
  std::vector<std::string_view> names;
  for (const auto& item : items) names.push_back(std::invoke(name, item));
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  return twice == names.end() ? std::nullopt : std::optional(*twice);
}

// The text between line feeds; one at the end begins no further line.
std::vector<std::string_view> lines_of(std::string_view text);

// Text from a file, fit for an error message: control bytes become '?', long text is cut.
std::string printable(std::string_view text);

}  // namespace dfengine::weights
