// How well one property alone tells fake pictures from real ones: a property that does is a leak or
// a shortcut, which a network will learn in place of the faces.
#pragma once

#include <span>
#include <string>

#include "kernels/base/shape.h"

namespace dfengine::audit {

// Hint: more than chance explains. Leak: nearly tells the classes apart.
enum class Verdict { None, Hint, Leak };

// AUC from which a property is a leak.
constexpr double kLeakAuc = 0.9;

struct Separation {
  double auc = 0.5;           // of the view that separates best
  std::string view = "none";  // what of the property was looked at
  Index distinct = 0;         // different values
  Verdict verdict = Verdict::None;
};

// label [n] 0 or 1. Two kinds of view:
//   numbers   ROC-AUC of the number itself, folded (a and 1 - a are one); NaN rows are left out
//   category  ROC-AUC of each row's out-of-fold target rate: the share of fakes among the rows of
//   the
//             same category in the other four of five folds, (fakes + p) / (rows + 1) with p the
//             share of fakes in all. A category that occurs once scores p: an identifier that never
//             comes back tells nothing.
// A number is looked at as number and as category. A text is looked at as category by its whole
// value, its folder (up to the last '/'), its extension, its first 1, 2, 4, 8, 16 and 32 bytes, its
// pattern (runs of digits, of small and of capital letters become 9, a, A; other bytes stay) and
// whether it is empty; as number by its length and, where all are numbers, by its value.
// Verdict: Leak from kLeakAuc on; Hint when auc - 0.5 passes five standard errors of the AUC of
// unrelated scores, sqrt((n0 + n1 + 1) / (12 n0 n1)) (Mann and Whitney 1947), which also covers the
// choice of the best of some fifteen views.
Separation separate(std::span<const double> numbers, std::span<const int> label);
Separation separate(std::span<const std::string> texts, std::span<const int> label);

}  // namespace dfengine::audit
