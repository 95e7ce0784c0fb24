// Several detectors on the same rows, side by side.
#pragma once

#include <string>
#include <vector>

#include "engine/evaluate/metrics/classification.h"

namespace dfengine {

struct ComparisonRow {
  std::string name;
  Metrics metrics;
};

// A row with its figures from logits [n] of fake and labels [n]. The threshold is a probability.
ComparisonRow compare(const std::string& name, const std::vector<double>& logits,
                      const std::vector<int>& label, double threshold);

// The accuracy, precision, recall, F1 and ROC-AUC of each, as text for people and for a file.
std::string comparison_text(const std::vector<ComparisonRow>& rows);
std::string comparison_csv(const std::vector<ComparisonRow>& rows);

}  // namespace dfengine
