// Where an axis begins, ends and carries numbers.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace dfengine::report {

struct Axis {
  std::string label;
  // Ends that are fixed; the others follow from the data, out to the next tick.
  std::optional<double> low = {}, high = {};
  bool whole = false;  // ticks at whole numbers only, such as epochs
};

struct Ticks {
  double low = 0, high = 1;  // of the axis, low < high
  std::vector<double> at;    // rising, within [low, high]
  std::vector<std::string> text;
};

// Whether a chart can place this number.
bool is_drawable(double value);

// Ticks at multiples of 1, 2 or 5 times a power of ten, at most `most` (>= 2) steps of them. Data
// that are not drawable are left out; without any the axis runs from 0 to 1.
Ticks make_ticks(const Axis& axis, std::span<const double> data, int most);

// A number as an axis shows it: as many decimals as a step of this size needs, "2e-5" for small and
// "3e6" for large axes.
std::string tick_text(double value, double step, double largest);

}  // namespace dfengine::report
