// Protobuf's wire format (https://protobuf.dev/programming-guides/encoding): a tag, and behind it a
// varint, 4 or 8 bytes, or a length and as many bytes as it says.
#include "weights/onnx/onnx_wire.h"

#include <fmt/format.h>

#include <cstdint>

#include "kernels/base/error.h"

namespace dfengine::weights {
namespace {

constexpr int kMaxFields = 200'000;  // the zoo's mobilenetv2-12 has about 3000

enum class Kind {
  Leaf,
  Model,
  Graph,
  Node,
  Attribute,
  Tensor,
  Value,
  Type,
  TensorType,
  Dims,
  Pair
};

// The message that a field of a message holds according to onnx.proto; Leaf for any other content.
Kind child(Kind kind, std::uint64_t field) {
  struct Row {
    Kind kind;
    std::uint64_t field;
    Kind child;
  };
  constexpr Row kRows[] = {{Kind::Model, 7, Kind::Graph},     {Kind::Model, 8, Kind::Pair},
                           {Kind::Model, 14, Kind::Pair},     {Kind::Graph, 1, Kind::Node},
                           {Kind::Graph, 5, Kind::Tensor},    {Kind::Graph, 11, Kind::Value},
                           {Kind::Graph, 12, Kind::Value},    {Kind::Node, 5, Kind::Attribute},
                           {Kind::Tensor, 13, Kind::Pair},    {Kind::Attribute, 5, Kind::Tensor},
                           {Kind::Value, 2, Kind::Type},      {Kind::Type, 1, Kind::TensorType},
                           {Kind::TensorType, 2, Kind::Dims}, {Kind::Dims, 1, Kind::Pair}};
  for (const Row& row : kRows)
    if (row.kind == kind && row.field == field) return row.child;
  return Kind::Leaf;
}

class Walker {
 public:
  Walker(std::span<const std::byte> file, const std::string& name) : file_(file), name_(name) {}

  // Walks the bytes up to `end`. kRows allow at most six levels of calls inside each other.
  void walk(Kind kind, std::size_t end) {
    while (at_ < end) {
      const std::size_t begin = at_;
      const std::uint64_t tag = varint(end);
      if (++fields_ > kMaxFields) fail(begin, "too many fields for a MobileNetV2");
      if (tag >> 3 == 0) fail(begin, "field number 0 does not exist");
      skip(kind, tag, begin, end);
    }
  }

 private:
  void skip(Kind kind, std::uint64_t tag, std::size_t begin, std::size_t end) {
    switch (tag & 7) {
      case 0:
        varint(end);
        return;
      case 1:
        return advance(8, end);
      case 5:
        return advance(4, end);
      case 2: {
        const std::uint64_t length = varint(end);
        const Kind inner = child(kind, tag >> 3);
        if (inner == Kind::Leaf) return advance(length, end);
        if (length > end - at_) advance(length, end);
        return walk(inner, at_ + length);
      }
      default:
        fail(begin, fmt::format("wire type {} is not used by ONNX", tag & 7));
    }
  }

  std::uint64_t varint(std::size_t end) {
    const std::size_t begin = at_;
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == end) fail(begin, "truncated number");
      const auto byte = std::to_integer<std::uint64_t>(file_[at_++]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    fail(begin, "number longer than 64 bits");
  }

  void advance(std::uint64_t bytes, std::size_t end) {
    if (bytes > end - at_)
      fail(at_, fmt::format("truncated: {} bytes announced, {} left", bytes, end - at_));
    at_ += bytes;
  }

  [[noreturn]] void fail(std::size_t at, const std::string& cause) const {
    throw ModelFileError(fmt::format("{}: damaged ONNX model at byte {}: {}", name_, at, cause));
  }

  std::span<const std::byte> file_;
  const std::string& name_;
  std::size_t at_ = 0;
  int fields_ = 0;
};

}  // namespace

void check_onnx_wire(std::span<const std::byte> file, const std::string& name_for_errors) {
  Walker(file, name_for_errors).walk(Kind::Model, file.size());
}

}  // namespace dfengine::weights
