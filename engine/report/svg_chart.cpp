#include "engine/report/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/report/drawing.h"
#include "engine/report/text.h"
#include "kernels/base/error.h"

namespace dfengine::report {
namespace {

constexpr double kGap = 6;  // between numbers and axis

void check(const Chart& chart, const Series& s) {
  const std::size_t edges = s.shape == Shape::Bars && !s.x.empty() ? 1 : 0;
  if (s.x.size() != s.y.size() + edges || s.low.size() != s.high.size() ||
      (!s.low.empty() && s.low.size() != s.y.size()))
    throw ShapeError(fmt::format("chart \"{}\", series \"{}\": {} x, {} y, {} low, {} high",
                                 chart.title, s.name, s.x.size(), s.y.size(), s.low.size(),
                                 s.high.size()));
}

// The coordinates of a line, gaps included; points nearer than a third of a unit to the one before
// are left out, so that a curve of a million points stays small.
class PathText {
 public:
  void gap() { pen_down_ = false; }
  void point(double x, double y) {
    const bool near = std::abs(x - x_) < 0.3 && std::abs(y - y_) < 0.3;
    if (pen_down_ && near) {
      pending_ = true;
      pending_x_ = x;
      pending_y_ = y;
      return;
    }
    write(x, y);
  }
  std::string finish() {
    if (pending_) write(pending_x_, pending_y_);
    return std::move(text_);
  }

 private:
  void write(double x, double y) {
    text_ += (pen_down_ ? 'L' : 'M') + px(x) + ' ' + px(y);
    pen_down_ = true;
    pending_ = false;
    x_ = x;
    y_ = y;
  }
  std::string text_;
  bool pen_down_ = false, pending_ = false;
  double x_ = 0, y_ = 0, pending_x_ = 0, pending_y_ = 0;
};

class ChartDrawing {
 public:
  explicit ChartDrawing(const Chart& chart) : chart_(chart) {
    for (const Series& s : chart.series) check(chart, s);
  }

  std::string run() {
    legend();
    place_axes();
    axes();
    bool any = false;
    for (const Series& s : chart_.series) any = series(s) || any;
    if (!any)
      drawing_.text((x_.begin + x_.end) / 2, (y_.begin + y_.end) / 2, "no data", Anchor::Middle,
                    "so");
    for (const VerticalRule& r : chart_.rules)
      if (is_drawable(r.x) && r.x >= x_.low && r.x <= x_.high)
        drawing_.line(x_(r.x), y_.begin, x_(r.x), y_.end, "mute da");
    return drawing_.finish(chart_.title, y_.begin + 2 * kRowHeight + kGap);
  }

 private:
  // Rows of sample and name; sets where the plot may begin.
  void legend() {
    double x = 0;
    top_ = kTitleHeight;
    const auto entry = [&](const std::string& name, auto&& sample) {
      constexpr double kSample = 20, kSpace = 14;
      const std::string shown = shorten(name, (kChartWidth - kSample - kGap) / kFontSize);
      const double width = kSample + kGap + text_width(shown) * kFontSize;
      if (x > 0 && x + width > kChartWidth) {
        x = 0;
        top_ += kRowHeight;
      }
      sample(x, top_ + 8, kSample);
      drawing_.text(x + kSample + kGap, top_ + 12, shown);
      x += width + kSpace;
    };
    for (const Series& s : chart_.series)
      if (!s.name.empty())
        entry(s.name, [&](double at, double y, double w) { sample(s, at, y, w); });
    for (const VerticalRule& r : chart_.rules)
      entry(r.name,
            [&](double at, double y, double w) { drawing_.line(at, y, at + w, y, "mute da"); });
    if (x > 0) top_ += kRowHeight;
    if (!chart_.y.label.empty()) {
      drawing_.text(0, top_ + 14, shorten(chart_.y.label, kChartWidth / kFontSize), Anchor::Start,
                    "so");
      top_ += kRowHeight;
    }
    top_ += 2 * kGap;
  }

  void sample(const Series& s, double x, double y, double w) {
    if (s.shape == Shape::Bars) {
      drawing_.rect(x + 4, y - 5, w - 8, 10, fmt::format("ar {}", ink_class(s.ink)));
      return;
    }
    if (s.x.size() != 1) drawing_.line(x, y, x + w, y, line_class(s));
    if (s.dots || s.x.size() == 1) drawing_.dot(x + w / 2, y, s.ink);
  }

  static std::string line_class(const Series& s) {
    return fmt::format("ln {}{}", ink_class(s.ink), s.dashed ? " da" : "");
  }

  void place_axes() {
    std::vector<double> xs, ys;
    for (const Series& s : chart_.series) {
      xs.insert(xs.end(), s.x.begin(), s.x.end());
      for (const auto* values : {&s.y, &s.low, &s.high})
        ys.insert(ys.end(), values->begin(), values->end());
      if (s.shape == Shape::Bars) ys.push_back(0);
    }
    y_ticks_ = make_ticks(chart_.y, ys, 5);
    double left = 0;
    for (const std::string& text : y_ticks_.text)
      left = std::max(left, text_width(text) * kFontSize);
    left += kGap;
    // As many numbers as fit with room between them.
    for (int most = 8; most >= 2; --most) {
      x_ticks_ = make_ticks(chart_.x, xs, most);
      double widest = 0;
      for (const std::string& text : x_ticks_.text)
        widest = std::max(widest, text_width(text) * kFontSize);
      right_ = widest / 2 + 2;
      const auto steps = static_cast<double>(std::max<std::size_t>(x_ticks_.text.size(), 2) - 1);
      const double length = x_ticks_.high - x_ticks_.low;
      const double share =
          x_ticks_.at.size() < 2 ? 1 : (x_ticks_.at.back() - x_ticks_.at.front()) / length;
      if ((widest + 12) * steps <= share * (kChartWidth - left - right_)) break;
    }
    left = std::max(left, right_);
    const double width = kChartWidth - left - right_;
    const double height = chart_.square ? width * 0.86 : 190;
    x_ = {x_ticks_.low, x_ticks_.high, left, left + width};
    y_ = {y_ticks_.low, y_ticks_.high, top_ + height, top_};
  }

  void axes() {
    for (std::size_t i = 0; i < y_ticks_.at.size(); ++i) {
      const double y = y_(y_ticks_.at[i]);
      drawing_.line(x_.begin, y, x_.end, y, "gr");
      drawing_.text(x_.begin - kGap, y + 4, y_ticks_.text[i], Anchor::End, "so");
    }
    drawing_.line(x_.begin, y_.begin, x_.end, y_.begin, "ax");
    for (std::size_t i = 0; i < x_ticks_.at.size(); ++i) {
      const double x = x_(x_ticks_.at[i]);
      drawing_.line(x, y_.begin, x, y_.begin + 4, "ax");
      drawing_.text(x, y_.begin + kRowHeight, x_ticks_.text[i], Anchor::Middle, "so");
    }
    drawing_.text((x_.begin + x_.end) / 2, y_.begin + 2 * kRowHeight,
                  shorten(chart_.x.label, (x_.end - x_.begin) / kFontSize), Anchor::Middle, "so");
  }

  // False when nothing of it can be drawn.
  bool series(const Series& s) {
    if (s.shape == Shape::Bars) return bars(s);
    PathText path;
    bool any = false;
    double before = 0;
    bool joined = false;
    for (std::size_t i = 0; i < s.y.size(); ++i) {
      if (!is_drawable(s.x[i]) || !is_drawable(s.y[i])) {
        path.gap();
        joined = false;
        continue;
      }
      const double x = x_(s.x[i]), y = y_(s.y[i]);
      if (s.shape == Shape::Step && joined) path.point(x, before);
      path.point(x, y);
      before = y;
      joined = any = true;
      whisker(s, i, x);
      if (s.dots || s.x.size() == 1) dots_.push_back({x, y});
    }
    const std::string line = path.finish();
    if (line.find('L') != line.npos) drawing_.path(line, line_class(s));
    for (const Dot& d : dots_) drawing_.dot(d.x, d.y, s.ink);
    dots_.clear();
    return any;
  }

  void whisker(const Series& s, std::size_t i, double x) {
    if (s.low.empty() || !is_drawable(s.low[i]) || !is_drawable(s.high[i])) return;
    const std::string classes = fmt::format("wh {}", ink_class(s.ink));
    const double low = y_(s.low[i]), high = y_(s.high[i]);
    drawing_.line(x, low, x, high, classes);
    for (double y : {low, high}) drawing_.line(x - 3, y, x + 3, y, classes);
  }

  bool bars(const Series& s) {
    // One outline: bins beside each other share their edges.
    std::string path;
    for (std::size_t i = 0; i < s.y.size(); ++i) {
      if (!is_drawable(s.x[i]) || !is_drawable(s.x[i + 1]) || !is_drawable(s.y[i])) continue;
      if (path.empty()) path = 'M' + px(x_(s.x[i])) + ' ' + px(y_(0));
      path += 'L' + px(x_(s.x[i])) + ' ' + px(y_(s.y[i]));
      path += 'L' + px(x_(s.x[i + 1])) + ' ' + px(y_(s.y[i]));
    }
    if (path.empty()) return false;
    path += 'L' + px(x_(s.x.back())) + ' ' + px(y_(0)) + 'Z';
    drawing_.path(path, fmt::format("ar {}", ink_class(s.ink)));
    return true;
  }

  struct Dot {
    double x, y;
  };
  const Chart& chart_;
  Drawing drawing_;
  double top_ = 0, right_ = 0;
  Ticks x_ticks_, y_ticks_;
  Scale x_{}, y_{};
  std::vector<Dot> dots_;
};

}  // namespace

std::string svg(const Chart& chart) {
  return ChartDrawing(chart).run();
}

}  // namespace dfengine::report
