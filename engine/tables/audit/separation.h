// How well one property alone tells fake pictures from real ones: a property that does is a leak or
// a shortcut, which a network will learn in place of the faces.
#pragma once

#include <span>
#include <string>

#include "kernels/base/shape.h"

namespace dfengine::audit {

// Hint: it separates the classes more than chance explains. Leak: it nearly tells them apart.
enum class Verdict { None, Hint, Leak };

// The AUC from which a property is a leak.
constexpr double kLeakAuc = 0.9;

struct Separation {
  double auc = 0.5;           // of the view that separates best
  std::string view = "none";  // the name of this view
  Index distinct = 0;         // the number of different values
  Verdict verdict = Verdict::None;
};

// Looks at a property in several views and keeps the one that separates the labels best. label [n]
// 0 or 1. There are two kinds of view:
//   number    the ROC-AUC of the number itself, or 1 minus it where this is greater; rows with NaN
//             are left out
//   category  the ROC-AUC of scores, where a row's score is the share of fakes among the rows of
//             the same category in the other four of five folds: (fakes + p) / (rows + 1), with p
//             the share of fakes in all rows. A category that occurs once scores p, because an
//             identifier that never comes back tells nothing.
// A number is looked at as number and as category. A text is looked at
//   as category, by its whole value, its folder (up to the last '/'), its extension, its first 1,
//               2, 4, 8, 16 and 32 bytes, its pattern (runs of digits, of small and of capital
//               letters become 9, a and A; other bytes stay), and whether it is empty
//   as number,  by its length and, where all are numbers, by its value.
// There is a verdict when auc - 0.5 passes five standard errors of the AUC of unrelated scores,
// sqrt((n0 + n1 + 1) / (12 n0 n1)) (Mann and Whitney 1947), which also covers the choice of the
// best of some fifteen views. It is Leak from kLeakAuc on, else Hint.
Separation separate(std::span<const double> numbers, std::span<const int> label);
Separation separate(std::span<const std::string> texts, std::span<const int> label);

}  // namespace dfengine::audit
