// The pieces every chart is drawn with: text, lines and the frame of an SVG element.
#pragma once

#include <string>
#include <string_view>

#include "engine/report/ink.h"

namespace dfengine::report {

inline constexpr double kChartWidth = 420;
inline constexpr double kFontSize = 12;  // of all text but the title
inline constexpr double kTitleHeight = 26;
inline constexpr double kRowHeight = 18;

enum class Anchor { Start, Middle, End };

// A coordinate as text, with one decimal.
std::string px(double v);
// The CSS class of a colour, which serves strokes and fills alike.
std::string_view ink_class(Ink ink);

class Drawing {
 public:
  // y is the base line. `classes` are names of chart_css().
  void text(double x, double y, std::string_view text, Anchor anchor = Anchor::Start,
            std::string_view classes = "");
  void line(double x1, double y1, double x2, double y2, std::string_view classes);
  void rect(double x, double y, double w, double h, std::string_view classes,
            std::string_view attributes = "");
  void dot(double x, double y, Ink ink);
  // d is an SVG path.
  void path(const std::string& d, std::string_view classes);

  // The <svg> element: the title, then what was drawn.
  std::string finish(std::string_view title, double height) const;

 private:
  std::string body_;
};

}  // namespace dfengine::report
