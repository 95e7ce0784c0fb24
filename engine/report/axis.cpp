#include "engine/report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace dfengine::report {
namespace {

// The smallest of 1, 2, 5 times a power of ten that is not below `least`.
double nice_step(double least) {
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  constexpr double kRounding = 1e-9;
  for (double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least * (1 - kRounding)) return factor * power;
  return 10 * power;
}

// A number as an axis shows it, with as many decimals as a step of this size needs. Small axes have
// numbers such as "2e-5", large ones such as "3e6".
std::string tick_text(double value, double step, double largest) {
  if (value == 0 || std::abs(value) < step * 1e-6) return "0";
  if (largest < 1e-2 || largest >= 1e6) {
    const double power = std::floor(std::log10(std::abs(value) * (1 + 1e-12)));
    return fmt::format("{:.4g}e{:.0f}", value / std::pow(10.0, power), power);
  }
  const int decimals = static_cast<int>(std::clamp(-std::floor(std::log10(step * 1.0001)), 0., 9.));
  return fmt::format("{:.{}f}", value, decimals);
}

}  // namespace

bool is_drawable(double value) {
  return std::isfinite(value) && std::abs(value) < 1e100;
}

Ticks make_ticks(const Axis& axis, std::span<const double> data, int most) {
  double low = 0, high = 1;
  bool any = false;
  for (double v : data) {
    if (!is_drawable(v)) continue;
    low = any ? std::min(low, v) : v;
    high = any ? std::max(high, v) : v;
    any = true;
  }
  if (axis.low) low = *axis.low;
  if (axis.high) high = *axis.high;
  // A range too thin to tell apart: room on both sides of the one value.
  if (!(high - low > 1e-9 * std::max(std::abs(low), std::abs(high)))) {
    const double room = axis.whole ? 1 : std::max(std::abs(low) * 0.1, 1e-6);
    if (!axis.low) low -= room;
    if (!axis.high || high <= low) high = std::max(high, low) + room;
  }
  double step = nice_step((high - low) / most);
  if (axis.whole) step = std::max(step, 1.0);
  Ticks ticks;
  constexpr double kRounding = 1e-6;
  // Whole-number axes end at their data: half an epoch is no place.
  ticks.low = axis.low || axis.whole ? low : std::floor(low / step + kRounding) * step;
  ticks.high = axis.high || axis.whole ? high : std::ceil(high / step - kRounding) * step;
  const double largest = std::max(std::abs(ticks.low), std::abs(ticks.high));
  const double first = std::ceil(ticks.low / step - kRounding);
  const double last = std::floor(ticks.high / step + kRounding);
  for (double i = first; i <= last; ++i) {
    ticks.at.push_back(std::clamp(i * step, ticks.low, ticks.high));
    ticks.text.push_back(tick_text(i * step, step, largest));
  }
  return ticks;
}

}  // namespace dfengine::report
