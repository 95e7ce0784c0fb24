// Datatype, dataspace and attribute messages; global heaps.
#include "weights/hdf5/hdf5_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "weights/tensor_file.h"

namespace dfengine::weights {
namespace {

constexpr unsigned kMaxRank = 8;

// IEEE 754's formats as the format describes a floating-point type; bits from the lowest.
struct FloatFormat {
  std::size_t size;
  unsigned sign, exponent, exponent_bits, fraction, fraction_bits;
  std::uint32_t bias;
};
constexpr std::array<FloatFormat, 3> kFloats = {
    {{2, 15, 10, 5, 0, 10, 15}, {4, 31, 23, 8, 0, 23, 127}, {8, 63, 52, 11, 0, 52, 1023}}};

Hdf5Type read_float(Hdf5Cursor in, unsigned bits, std::size_t size) {
  constexpr unsigned kBigEndian = 1, kVaxOrder = 1u << 6, kImpliedOne = 2;
  const Hdf5Type other{Hdf5Type::Kind::OtherFloat, size, false};
  const unsigned offset = in.u16(), precision = in.u16();
  const FloatFormat found{size, bits >> 8 & 0xFF, in.u8(), in.u8(), in.u8(), in.u8(), in.u32()};
  const auto format = std::ranges::find(kFloats, size, &FloatFormat::size);
  const bool same =
      format != kFloats.end() && found.sign == format->sign && found.exponent == format->exponent &&
      found.exponent_bits == format->exponent_bits && found.fraction == format->fraction &&
      found.fraction_bits == format->fraction_bits && found.bias == format->bias;
  if (!same || offset != 0 || precision != 8 * size || (bits & kVaxOrder) != 0 ||
      (bits >> 4 & 3) != kImpliedOne)
    return other;
  return {Hdf5Type::Kind::Ieee, size, (bits & kBigEndian) != 0};
}

// Parts of an attribute of version 1 are filled up to a multiple of 8 bytes.
std::uint64_t padded(std::uint64_t size, unsigned version) {
  return version == 1 ? (size + 7) / 8 * 8 : size;
}

struct AttributeHead {
  std::string name;
  bool named_type;
  std::uint64_t type_size, space_size;
  Hdf5Cursor rest;
};

AttributeHead read_head(const Hdf5Message& message) {
  Hdf5Cursor in = message.body;
  const unsigned version = in.u8();
  if (version < 1 || version > 3)
    in.refuse(fmt::format("attribute of unknown version {}", version));
  const bool named_type = in.u8() != 0 && version > 1;
  const std::uint64_t name_size = in.u16(), type_size = in.u16(), space_size = in.u16();
  if (version == 3) in.skip(1);  // character set of the name
  std::string name(hdf5_text(in.take(padded(name_size, version))));
  return {std::move(name), named_type, padded(type_size, version), padded(space_size, version), in};
}

}  // namespace

Hdf5Type read_datatype(Hdf5Cursor in) {
  const unsigned head = in.u8();
  if (const unsigned version = head >> 4; version < 1 || version > 5)
    in.refuse(fmt::format("type of unknown version {}", version));
  const auto bits = static_cast<unsigned>(in.number(3));
  const std::size_t size = in.u32();
  constexpr unsigned kFloat = 1, kText = 3, kVariable = 9, kVariableText = 1;
  switch (head & 0xF) {
    case kFloat:
      return read_float(in, bits, size);
    case kText:
      return {Hdf5Type::Kind::FixedText, size, false};
    case kVariable:
      if ((bits & 0xF) == kVariableText) return {Hdf5Type::Kind::VariableText, size, false};
      break;
    default:
      break;
  }
  return {Hdf5Type::Kind::Other, size, false};
}

std::optional<std::vector<std::int64_t>> read_dataspace(Hdf5Cursor in) {
  const unsigned version = in.u8();
  if (version != 1 && version != 2)
    in.refuse(fmt::format("data space of unknown version {}", version));
  const unsigned rank = in.u8();
  in.skip(1);  // flags: whether greatest extents follow
  constexpr unsigned kNull = 2;
  if (version == 1) {
    in.skip(5);
  } else if (in.u8() == kNull) {
    return std::nullopt;
  }
  if (rank > kMaxRank) in.refuse(fmt::format("has {} dimensions, more than {}", rank, kMaxRank));
  std::vector<std::int64_t> dims;
  for (unsigned i = 0; i < rank; ++i) {
    const std::uint64_t dim = in.length();
    if (dim > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      in.refuse(fmt::format("dimension {} of {} is impossible", i, dim));
    dims.push_back(static_cast<std::int64_t>(dim));
  }
  if (!checked_count(dims)) in.refuse("has impossible dimensions");
  return dims;
}

std::span<const std::byte> Hdf5Attributes::object(std::uint64_t collection, std::uint32_t number) {
  auto found = collections_.find(collection);
  if (found == collections_.end())
    found = collections_.emplace(collection, read_collection(collection)).first;
  const auto object = found->second.find(number);
  if (object == found->second.end()) {
    file_.refuse(fmt::format("the global heap at byte {} has no object {}", collection, number));
  }
  return object->second;
}

Hdf5Attributes::Collection Hdf5Attributes::read_collection(std::uint64_t address) {
  const std::uint64_t head = 8 + file_.length_width();
  Hdf5Cursor start = file_.open(address, head, "global heap");
  start.expect("GCOL");
  if (const unsigned version = start.u8(); version != 1)
    start.refuse(fmt::format("version {} is unknown", version));
  start.skip(3);
  const std::uint64_t size = start.length();
  if (size < head) start.refuse("is smaller than its own head");
  Hdf5Cursor in = file_.open(address + head, size - head, "global heap");
  Collection objects;
  while (in.left() >= head) {
    const std::uint32_t number = in.u16();
    in.skip(6);  // references, reserved
    const std::uint64_t length = in.length();
    if (number == 0) break;  // the free space at the end
    objects.emplace(number, in.take(length));
    in.skip(std::min<std::uint64_t>((8 - length % 8) % 8, in.left()));
  }
  return objects;
}

std::string Hdf5Attributes::name(const Hdf5Message& message) {
  return read_head(message).name;
}

std::optional<std::string> Hdf5Attributes::texts(const Hdf5Message& message) {
  AttributeHead head = read_head(message);
  if (message.shared || head.named_type) head.rest.refuse("attribute of a named type");
  const Hdf5Type type = read_datatype(head.rest.part(head.type_size, "attribute's type"));
  const auto dims = read_dataspace(head.rest.part(head.space_size, "attribute's extent"));
  const auto count = dims ? static_cast<std::size_t>(*checked_count(*dims)) : 0;
  const bool fixed = type.kind == Hdf5Type::Kind::FixedText;
  if (!fixed && type.kind != Hdf5Type::Kind::VariableText) return std::nullopt;
  const std::size_t each = fixed ? type.size : 8 + file_.address_width();
  if (each == 0 || count > head.rest.left() / each) {
    file_.refuse(fmt::format("attribute {}: {} texts of {} bytes are more than its {} bytes",
                             head.name, count, each, head.rest.left()));
  }
  std::string joined;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) joined += '\n';
    joined += fixed ? hdf5_text(head.rest.take(each)) : variable_text(head.rest, head.name);
  }
  return joined;
}

std::string_view Hdf5Attributes::variable_text(Hdf5Cursor& values, const std::string& name) {
  const std::uint32_t size = values.u32();
  const std::uint64_t heap = values.address_field();
  const std::uint32_t number = values.u32();
  if (size == 0) return "";
  const auto found = object(heap, number);
  if (size > found.size()) {
    file_.refuse(fmt::format("attribute {}: a text of {} bytes in an object of {}", name, size,
                             found.size()));
  }
  const auto text = hdf5_text(found.first(size));
  file_.charge(text.size());
  return text;
}

}  // namespace dfengine::weights
