// Charts as SVG: lines, steps, histograms, bars with intervals, and confusion matrices. Every chart
// is drawn 420 units wide, so that it stays legible at phone width. The colours follow the reader's
// light or dark setting.
#pragma once

#include <string>
#include <vector>

#include "engine/report/axis.h"
#include "engine/report/ink.h"
#include "kernels/base/shape.h"

namespace dfengine::report {

enum class Shape {
  Line,
  Step,  // holds each y until the next x
  Bars,  // a histogram: x holds the edges, one more than y holds heights
};

struct Series {
  std::string name;  // in the legend; one without a name is not listed
  // x and y are equally long, but for Bars. Points that are not finite leave a gap, and points
  // outside a fixed axis are drawn on its edge.
  std::vector<double> x, y;
  Ink ink = Ink::A;
  Shape shape = Shape::Line;
  bool dashed = false;
  bool dots = false;                        // a dot on each point
  std::vector<double> low = {}, high = {};  // with y's size: a whisker at each point
};

struct VerticalRule {
  double x = 0;
  std::string name;  // in the legend
};

struct Chart {
  std::string title;
  Axis x, y;
  std::vector<Series> series;
  std::vector<VerticalRule> rules = {};
  bool square = false;  // both axes have the same length, as in ROC curves
};

// One named value with its interval; low = high = value stands for no interval.
struct Bar {
  std::string name;
  double value = 0, low = 0, high = 0;
  Ink ink = Ink::A;
};

// Horizontal bars, one below the other. Each begins at the low end of the axis and carries its
// value as text.
struct BarChart {
  std::string title;
  Axis axis;
  std::vector<Bar> bars;
  int decimals = 3;  // of the values as text
};

// cells [rows, columns]: the row is the true class, the column the class that was called. A cell is
// shaded by its share of the row.
struct MatrixChart {
  std::string title;
  std::vector<std::string> classes;
  std::vector<std::vector<double>> cells;
  int decimals = 0;
};

// Gives an <svg> element for a page that holds chart_css() once. Throws ShapeError where the sizes
// within a series or matrix disagree.
std::string svg(const Chart& chart);
std::string svg(const BarChart& chart);
std::string svg(const MatrixChart& chart);

// Gives a file of its own from such an element, with its style and background.
std::string svg_file(const std::string& element);

// The style of all charts, for light and dark settings.
std::string chart_css();

}  // namespace dfengine::report
