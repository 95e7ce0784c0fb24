// The look of all charts.
#include <fmt/format.h>

#include "engine/report/drawing.h"

namespace dfengine::report {
namespace {

struct Colour {
  std::string_view name, light, dark;
};

// By Ink. Each at least 3:1 against the background of its theme, and the classes apart for
// colour-blind readers too (blue against orange).
constexpr Colour kInks[] = {
    {"real", "#0b6fa4", "#5ab4e5"}, {"fake", "#c4501b", "#f2935c"}, {"mute", "#8a939c", "#77818b"},
    {"ia", "#4557c4", "#8f9df2"},   {"ib", "#2b8254", "#62c192"},   {"ic", "#9a3a9f", "#d88adb"},
    {"id", "#94700a", "#d9b44a"},   {"ie", "#0b8494", "#53c3d1"},   {"if", "#b3315f", "#ee86a9"},
};
constexpr Colour kText = {"text", "#1c2126", "#e7eaed"};
constexpr Colour kSoft = {"soft", "#5a646e", "#a0aab4"};
constexpr Colour kGrid = {"grid", "#e4e7ea", "#2c333a"};
constexpr Colour kBack = {"back", "#ffffff", "#15191d"};

std::string colours(std::string_view Colour::*theme) {
  std::string css =
      fmt::format(".dfc text{{fill:{}}}.dfc .so{{fill:{}}}", kText.*theme, kSoft.*theme);
  css += fmt::format(".dfc .gr{{stroke:{}}}.dfc .ax{{stroke:{}}}.dfc .bg{{fill:{}}}", kGrid.*theme,
                     kSoft.*theme, kBack.*theme);
  for (const Colour& ink : kInks)
    css += fmt::format(".dfc .{0}{{stroke:{1};fill:{1}}}", ink.name, ink.*theme);
  return css;
}

}  // namespace

std::string_view ink_class(Ink ink) {
  return kInks[static_cast<std::size_t>(ink)].name;
}

std::string chart_css() {
  std::string css =
      ".dfc text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu "
      "Sans',sans-serif;font-variant-numeric:tabular-nums;stroke:none}"
      ".dfc .ti{font-size:14px;font-weight:600}.dfc .big{font-size:20px;font-weight:600}"
      ".dfc line,.dfc path{stroke-width:1}";
  css += colours(&Colour::light);
  css += "@media (prefers-color-scheme:dark){" + colours(&Colour::dark) + "}";
  // After the colours: these take a fill or stroke away again.
  css +=
      ".dfc .ln{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}"
      ".dfc .da{stroke-dasharray:5 4;stroke-linecap:butt}.dfc .dot{stroke:none}"
      ".dfc .ar{fill-opacity:.28;stroke-width:1}.dfc .br{stroke:none}.dfc .wh{stroke-width:1.5}"
      ".dfc .cell{stroke:none}";
  return css;
}

std::string svg_file(const std::string& element) {
  // Around the element: a margin of its own, which a page gives otherwise.
  constexpr double kMargin = 14;
  constexpr std::string_view kHeight = " height=\"";
  const double height = std::stod(element.substr(element.find(kHeight) + kHeight.size()));
  const double w = kChartWidth + 2 * kMargin, h = height + 2 * kMargin;
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"dfc\" width=\"{2}\" height=\"{3}\" "
      "viewBox=\"-{0} -{0} {2} {3}\"><style>{1}</style>"
      "<rect x=\"-{0}\" y=\"-{0}\" width=\"{2}\" height=\"{3}\" class=\"bg\"/>{4}</svg>\n",
      px(kMargin), chart_css(), px(w), px(h), element);
}

}  // namespace dfengine::report
