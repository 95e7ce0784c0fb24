// PTX ISA, "Comparison and Selection Instructions": setp.
#include <cmath>

#include "tests/ptx/instructions/lane_wise.h"

namespace dfengine::ptx {
namespace {

// "setp.lt.s32", and with a second condition "setp.lt.and.s32".
template <class T, auto Compare>
void add_comparison(LaneWiseTable& table, const std::string& name, const std::string& type) {
  table["setp." + name + "." + type] = lane_wise<[](T a, T b) -> bool { return Compare(a, b); }>();
  table["setp." + name + ".and." + type] =
      lane_wise<[](T a, T b, bool c) -> bool { return Compare(a, b) && c; }>();
  table["setp." + name + ".or." + type] =
      lane_wise<[](T a, T b, bool c) -> bool { return Compare(a, b) || c; }>();
}

// With floats, false where an operand is NaN.
template <class T>
void add_ordered(LaneWiseTable& table, const std::string& type) {
  add_comparison<T, [](T a, T b) { return a == b; }>(table, "eq", type);
  add_comparison<T, [](T a, T b) { return (a < b || a > b); }>(table, "ne", type);
  add_comparison<T, [](T a, T b) { return a < b; }>(table, "lt", type);
  add_comparison<T, [](T a, T b) { return a <= b; }>(table, "le", type);
  add_comparison<T, [](T a, T b) { return (a > b); }>(table, "gt", type);
  add_comparison<T, [](T a, T b) { return (a >= b); }>(table, "ge", type);
}

// True where an operand is NaN.
template <class T>
void add_unordered(LaneWiseTable& table, const std::string& type) {
  add_comparison<T, [](T a, T b) { return !(a < b || a > b); }>(table, "equ", type);
  add_comparison<T, [](T a, T b) { return a != b; }>(table, "neu", type);
  add_comparison<T, [](T a, T b) { return !(a >= b); }>(table, "ltu", type);
  add_comparison<T, [](T a, T b) { return !(a > b); }>(table, "leu", type);
  add_comparison<T, [](T a, T b) { return !(a <= b); }>(table, "gtu", type);
  add_comparison<T, [](T a, T b) { return !(a < b); }>(table, "geu", type);
  add_comparison<T, [](T a, T b) { return std::isnan(a) || std::isnan(b); }>(table, "nan", type);
  add_comparison<T, [](T a, T b) { return !std::isnan(a) && !std::isnan(b); }>(table, "num", type);
}

}  // namespace

void add_comparisons(LaneWiseTable& table) {
  add_ordered<std::int16_t>(table, "s16");
  add_ordered<std::int32_t>(table, "s32");
  add_ordered<std::int64_t>(table, "s64");
  for (const char* type : {"u16", "b16"}) add_ordered<std::uint16_t>(table, type);
  for (const char* type : {"u32", "b32"}) add_ordered<std::uint32_t>(table, type);
  for (const char* type : {"u64", "b64"}) add_ordered<std::uint64_t>(table, type);
  add_ordered<float>(table, "f32");
  add_ordered<double>(table, "f64");
  add_unordered<float>(table, "f32");
  add_unordered<double>(table, "f64");
}

}  // namespace dfengine::ptx
