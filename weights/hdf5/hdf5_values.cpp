// Datatype and dataspace messages.
#include "weights/hdf5/hdf5_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "weights/tensor_file.h"

namespace dfengine::weights {
namespace {

constexpr unsigned kMaxRank = 8;

// IEEE 754's formats as the format describes a floating-point type; bits from the lowest.
struct FloatFormat {
  std::size_t size;
  unsigned sign, exponent, exponent_bits, fraction, fraction_bits;
  std::uint32_t bias;
  bool operator==(const FloatFormat&) const = default;
};
constexpr std::array<FloatFormat, 3> kFloats = {
    {{2, 15, 10, 5, 0, 10, 15}, {4, 31, 23, 8, 0, 23, 127}, {8, 63, 52, 11, 0, 52, 1023}}};

Hdf5Type read_float(Hdf5Cursor in, unsigned bits, std::size_t size) {
  constexpr unsigned kBigEndian = 1, kVaxOrder = 1u << 6, kImpliedOne = 2;
  const Hdf5Type other{Hdf5Type::Kind::OtherFloat, size, false};
  const unsigned offset = in.u16(), precision = in.u16();
  const FloatFormat found{size, bits >> 8 & 0xFF, in.u8(), in.u8(), in.u8(), in.u8(), in.u32()};
  const bool known = std::ranges::find(kFloats, found) != kFloats.end();
  if (!known || offset != 0 || precision != 8 * size || (bits & kVaxOrder) != 0 ||
      (bits >> 4 & 3) != kImpliedOne)
    return other;
  return {Hdf5Type::Kind::Ieee, size, (bits & kBigEndian) != 0};
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

}  // namespace dfengine::weights
