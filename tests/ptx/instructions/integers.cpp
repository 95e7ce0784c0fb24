// PTX ISA, "Integer Arithmetic Instructions", "Logic and Shift Instructions", "mov" and "selp".
#include <limits>

#include "tests/ptx/instructions/lane_wise.h"

namespace dfengine::ptx {
namespace {

__extension__ typedef __int128 Int128;
__extension__ typedef unsigned __int128 Unsigned128;

template <class T>
using Unsigned = std::make_unsigned_t<T>;
// The type that holds every product of two.
template <class T>
using Twice = std::conditional_t<
    sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, std::int32_t, std::uint32_t>,
    std::conditional_t<sizeof(T) == 4,
                       std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>,
                       std::conditional_t<std::is_signed_v<T>, Int128, Unsigned128>>>;

template <class T>
constexpr int kBits = 8 * static_cast<int>(sizeof(T));

// Products of 16 bits would overflow int, which they are promoted to.
template <class T>
T product(T a, T b) {
  return static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}

template <class T>
T sum(T a, T b) {
  return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

template <class T>
T difference(T a, T b) {
  return static_cast<T>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}

// Division by zero gives an unspecified value in PTX, and the quotient that overflows too.
template <class T>
bool divides(T a, T b) {
  return b != 0 &&
         !(std::is_signed_v<T> && a == std::numeric_limits<T>::min() && b == static_cast<T>(-1));
}

// Shifts by more than the register's bits are clamped.
template <class T>
T shifted_left(T a, std::uint32_t by) {
  return by >= kBits<T> ? T{0} : static_cast<T>(static_cast<Unsigned<T>>(a) << by);
}

template <class T>
T shifted_right(T a, std::uint32_t by) {
  if (by >= kBits<T>) return a < 0 ? static_cast<T>(-1) : T{0};
  return static_cast<T>(a >> by);
}

// b with the lowest `count` bits of a from bit `first` on.
template <class T>
T inserted(T a, T b, std::uint32_t first, std::uint32_t count) {
  first &= 0xFF, count &= 0xFF;
  const T ones = count >= kBits<T> ? ~T{0} : (T{1} << count) - 1;
  const T where = shifted_left(ones, first);
  return (b & ~where) | (shifted_left(a, first) & where);
}

template <class T>
void add_arithmetic(LaneWiseTable& table, const std::string& type) {
  table["add." + type] = lane_wise<[](T a, T b) -> T { return sum(a, b); }>();
  table["sub." + type] = lane_wise<[](T a, T b) -> T { return difference(a, b); }>();
  table["mul.lo." + type] = lane_wise<[](T a, T b) -> T { return product(a, b); }>();
  table["mad.lo." + type] = lane_wise<[](T a, T b, T c) -> T { return sum(product(a, b), c); }>();
  table["mul.hi." + type] = lane_wise<[](T a, T b) -> T {
    return static_cast<T>((static_cast<Twice<T>>(a) * static_cast<Twice<T>>(b)) >> kBits<T>);
  }>();
  table["div." + type] = lane_wise<[](T a, T b) -> T {
    return divides(a, b) ? static_cast<T>(a / b) : static_cast<T>(-1);
  }>();
  table["rem." + type] =
      lane_wise<[](T a, T b) -> T { return divides(a, b) ? static_cast<T>(a % b) : a; }>();
  table["min." + type] = lane_wise<[](T a, T b) -> T { return std::min(a, b); }>();
  table["max." + type] = lane_wise<[](T a, T b) -> T { return std::max(a, b); }>();
  table["neg." + type] = lane_wise<[](T a) -> T { return difference(T{0}, a); }>();
  table["abs." + type] = lane_wise<[](T a) -> T { return a < 0 ? difference(T{0}, a) : a; }>();
  table["shr." + type] = lane_wise<[](T a, std::uint32_t b) -> T { return shifted_right(a, b); }>();
}

template <class T>
void add_wide(LaneWiseTable& table, const std::string& type) {
  using Wide = Twice<T>;
  table["mul.wide." + type] = lane_wise<[](T a, T b) -> Wide {
    return static_cast<Wide>(static_cast<Wide>(a) * static_cast<Wide>(b));
  }>();
  table["mad.wide." + type] = lane_wise<[](T a, T b, Wide c) -> Wide {
    return sum(static_cast<Wide>(static_cast<Wide>(a) * static_cast<Wide>(b)), c);
  }>();
}

// What does not ask whether the bits have a sign.
template <class T>
void add_bits(LaneWiseTable& table, const std::string& type) {
  table["and." + type] = lane_wise<[](T a, T b) -> T { return static_cast<T>(a & b); }>();
  table["or." + type] = lane_wise<[](T a, T b) -> T { return static_cast<T>(a | b); }>();
  table["xor." + type] = lane_wise<[](T a, T b) -> T { return static_cast<T>(a ^ b); }>();
  table["not." + type] = lane_wise<[](T a) -> T { return static_cast<T>(~a); }>();
  table["shl." + type] = lane_wise<[](T a, std::uint32_t b) -> T { return shifted_left(a, b); }>();
  table["shr." + type] = lane_wise<[](T a, std::uint32_t b) -> T { return shifted_right(a, b); }>();
}

template <class T>
void add_moves(LaneWiseTable& table, const std::string& type) {
  table["mov." + type] = lane_wise<[](T a) -> T { return a; }>();
  table["selp." + type] = lane_wise<[](T a, T b, bool first) -> T { return first ? a : b; }>();
}

}  // namespace

void add_integers(LaneWiseTable& table) {
  add_arithmetic<std::int16_t>(table, "s16");
  add_arithmetic<std::uint16_t>(table, "u16");
  add_arithmetic<std::int32_t>(table, "s32");
  add_arithmetic<std::uint32_t>(table, "u32");
  add_arithmetic<std::int64_t>(table, "s64");
  add_arithmetic<std::uint64_t>(table, "u64");
  add_wide<std::int16_t>(table, "s16");
  add_wide<std::uint16_t>(table, "u16");
  add_wide<std::int32_t>(table, "s32");
  add_wide<std::uint32_t>(table, "u32");
  add_bits<std::uint16_t>(table, "b16");
  add_bits<std::uint32_t>(table, "b32");
  add_bits<std::uint64_t>(table, "b64");
  for (const char* type : {"b16", "u16", "s16"}) add_moves<std::uint16_t>(table, type);
  for (const char* type : {"b32", "u32", "s32", "f32"}) add_moves<std::uint32_t>(table, type);
  for (const char* type : {"b64", "u64", "s64", "f64"}) add_moves<std::uint64_t>(table, type);
  table["bfi.b32"] =
      lane_wise<[](std::uint32_t a, std::uint32_t b, std::uint32_t first, std::uint32_t count)
                    -> std::uint32_t { return inserted(a, b, first, count); }>();
  table["bfi.b64"] =
      lane_wise<[](std::uint64_t a, std::uint64_t b, std::uint32_t first, std::uint32_t count)
                    -> std::uint64_t { return inserted(a, b, first, count); }>();
  table["mov.pred"] = lane_wise<[](bool a) -> bool { return a; }>();
  table["and.pred"] = lane_wise<[](bool a, bool b) -> bool { return a && b; }>();
  table["or.pred"] = lane_wise<[](bool a, bool b) -> bool { return a || b; }>();
  table["xor.pred"] = lane_wise<[](bool a, bool b) -> bool { return a != b; }>();
  table["not.pred"] = lane_wise<[](bool a) -> bool { return !a; }>();
}

}  // namespace dfengine::ptx
