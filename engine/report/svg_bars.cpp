// Horizontal bars and confusion matrices.
#include <fmt/format.h>

#include <algorithm>

#include "engine/report/axis.h"
#include "engine/report/drawing.h"
#include "engine/report/svg_chart.h"
#include "engine/report/text.h"
#include "kernels/base/error.h"

namespace dfengine::report {
namespace {

std::string number(double value, int decimals) {
  return is_drawable(value) ? fmt::format("{:.{}f}", value, decimals) : "n/a";
}

// Numbers above the bars' columns, as many as fit.
void bar_axis(Drawing& drawing, const Ticks& ticks, const Scale& at, double top, double bottom,
              const std::string& label) {
  for (std::size_t i = 0; i < ticks.at.size(); ++i) {
    const double x = at(ticks.at[i]);
    drawing.line(x, top, x, bottom, "gr");
    drawing.text(x, bottom + kRowHeight - 2, ticks.text[i], Anchor::Middle, "so");
  }
  drawing.text(kChartWidth / 2, bottom + 2 * kRowHeight, shorten(label, kChartWidth / kFontSize),
               Anchor::Middle, "so");
}

}  // namespace

std::string svg(const BarChart& chart) {
  std::vector<double> values;
  double widest = 0;
  for (const Bar& b : chart.bars) {
    for (double v : {b.value, b.low, b.high}) values.push_back(v);
    widest = std::max(widest, text_width(number(b.value, chart.decimals)) * kFontSize);
  }
  const Ticks ticks = make_ticks(chart.axis, values, 5);
  // A name has a line of its own above its bar: any length fits, at any width.
  constexpr double kBar = 12, kPitch = kRowHeight + kBar + 8;
  const double left = text_width(ticks.text.empty() ? "" : ticks.text.front()) * kFontSize / 2 + 2;
  const double width = kChartWidth - left - std::max(widest + 8, 16.0);
  const double top = kTitleHeight;
  const double bottom =
      top + kPitch * static_cast<double>(std::max<std::size_t>(chart.bars.size(), 1));
  Drawing drawing;
  const Scale at{ticks.low, ticks.high, left, left + width};
  bar_axis(drawing, ticks, at, top, bottom, chart.axis.label);
  if (chart.bars.empty())
    drawing.text(kChartWidth / 2, top + kRowHeight, "no data", Anchor::Middle, "so");
  double y = top;
  for (const Bar& b : chart.bars) {
    const double middle = y + kRowHeight + kBar / 2;
    drawing.text(left, y + 13, shorten(b.name, (kChartWidth - left) / kFontSize));
    if (is_drawable(b.value)) {
      drawing.rect(left, y + kRowHeight, at(b.value) - left, kBar,
                   fmt::format("br {}", ink_class(b.ink)));
      if (is_drawable(b.low) && is_drawable(b.high) && b.low < b.high) {
        drawing.line(at(b.low), middle, at(b.high), middle, "ax wh");
        for (double v : {b.low, b.high})
          drawing.line(at(v), middle - 4, at(v), middle + 4, "ax wh");
      }
    }
    drawing.text(kChartWidth, middle + 4, number(b.value, chart.decimals), Anchor::End);
    y += kPitch;
  }
  return drawing.finish(chart.title, bottom + 2 * kRowHeight + 6);
}

std::string svg(const MatrixChart& chart) {
  const std::size_t n = chart.classes.size();
  bool square = chart.cells.size() == n;
  for (const auto& row : chart.cells) square = square && row.size() == n;
  if (!square || n == 0)
    throw ShapeError(
        fmt::format("matrix \"{}\": {} classes, {} rows", chart.title, n, chart.cells.size()));
  double name = 0;
  for (const std::string& c : chart.classes) name = std::max(name, text_width(c) * kFontSize);
  const double left = std::min(name, 120.0) + 10;
  const double cell = (kChartWidth - left) / static_cast<double>(n);
  const double height = std::clamp(cell * 0.45, 28.0, 72.0);
  const double top = kTitleHeight + 2 * kRowHeight;
  Drawing drawing;
  drawing.text(left, kTitleHeight + 14, "called", Anchor::Start, "so");
  drawing.text(0, top - 5, "true", Anchor::Start, "so");
  for (std::size_t i = 0; i < n; ++i) {
    const auto place = static_cast<double>(i);
    drawing.text(left + cell * (place + 0.5), top - 5, shorten(chart.classes[i], cell / kFontSize),
                 Anchor::Middle);
    drawing.text(0, top + height * (place + 0.5) + 4, shorten(chart.classes[i], 120 / kFontSize));
    double sum = 0;
    for (double v : chart.cells[i]) sum += is_drawable(v) ? v : 0;
    for (std::size_t j = 0; j < n; ++j) {
      const double v = chart.cells[i][j];
      const double share = sum > 0 && is_drawable(v) ? v / sum : 0;
      const Ink ink = n == 2 ? (i == 0 ? Ink::Real : Ink::Fake) : Ink::A;
      const double x = left + cell * static_cast<double>(j), y = top + height * place;
      drawing.rect(x + 1, y + 1, cell - 2, height - 2, fmt::format("cell {}", ink_class(ink)),
                   fmt::format(" rx=\"3\" fill-opacity=\"{:.2f}\"", 0.06 + 0.34 * share));
      drawing.text(x + cell / 2, y + height / 2 + 7, number(v, chart.decimals), Anchor::Middle,
                   n <= 4 ? "big" : "");
    }
  }
  return drawing.finish(chart.title, top + height * static_cast<double>(n) + 2);
}

}  // namespace dfengine::report
