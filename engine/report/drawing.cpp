#include "engine/report/drawing.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/report/text.h"

namespace dfengine::report {

std::string px(double v) {
  const double rounded = std::round(v * 10) / 10;
  return fmt::format("{:g}", rounded == 0 ? 0.0 : rounded);
}

void Drawing::text(double x, double y, std::string_view text, Anchor anchor,
                   std::string_view classes) {
  const char* end = anchor == Anchor::Start    ? ""
                    : anchor == Anchor::Middle ? " text-anchor=\"middle\""
                                               : " text-anchor=\"end\"";
  body_ += fmt::format("<text x=\"{}\" y=\"{}\"{}{}>{}</text>", px(x), px(y), end,
                       classes.empty() ? "" : fmt::format(" class=\"{}\"", classes), escape(text));
}

void Drawing::line(double x1, double y1, double x2, double y2, std::string_view classes) {
  body_ += fmt::format("<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" class=\"{}\"/>", px(x1),
                       px(y1), px(x2), px(y2), classes);
}

void Drawing::rect(double x, double y, double w, double h, std::string_view classes,
                   std::string_view attributes) {
  body_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"{}\"{}/>", px(x),
                       px(y), px(w), px(h), classes, attributes);
}

void Drawing::dot(double x, double y, Ink ink) {
  body_ += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"3\" class=\"dot {}\"/>", px(x), px(y),
                       ink_class(ink));
}

void Drawing::path(const std::string& d, std::string_view classes) {
  body_ += fmt::format("<path d=\"{}\" class=\"{}\"/>", d, classes);
}

std::string Drawing::finish(std::string_view title, double height) const {
  constexpr double kTitleSize = 14;
  const std::string shown = shorten(title, kChartWidth / kTitleSize);
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"dfc\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"{2}\">"
      "<text x=\"0\" y=\"14\" class=\"ti\">{3}</text>{4}</svg>",
      px(kChartWidth), px(height), escape(title), escape(shown), body_);
}

}  // namespace dfengine::report
