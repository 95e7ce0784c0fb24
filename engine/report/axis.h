// Where an axis begins, ends and carries numbers.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace dfengine::report {

struct Axis {
  std::string label;
  // The ends that are fixed. The others follow from the data and reach to the next tick.
  std::optional<double> low = {}, high = {};
  bool whole = false;  // ticks stand at whole numbers only, such as epochs
};

struct Ticks {
  double low = 0, high = 1;  // the ends of the axis, low < high
  std::vector<double> at;    // rising, within [low, high]
  std::vector<std::string> text;
};

// Where data coordinates lie on a drawing. Those beyond the ends lie on them.
struct Scale {
  double low, high;   // data
  double begin, end;  // drawing
  double operator()(double v) const {
    return begin + (std::clamp(v, low, high) - low) / (high - low) * (end - begin);
  }
};

// Whether a chart can place this number.
bool is_drawable(double value);

// Puts ticks at multiples of 1, 2 or 5 times a power of ten, at most `most` (>= 2) steps of them.
// Numbers that cannot be drawn are left out; where none remains the axis runs from 0 to 1.
Ticks make_ticks(const Axis& axis, std::span<const double> data, int most);

}  // namespace dfengine::report
