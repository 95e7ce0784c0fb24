#include "engine/tables/metadata/comparison.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/data/sets/csv.h"
#include "engine/tables/metadata/table_scores.h"

namespace dfengine {

ComparisonRow compare(const std::string& name, const std::vector<double>& logits,
                      const std::vector<int>& label, double threshold) {
  return {name, compute_metrics({to_probabilities(logits), logits}, label, threshold)};
}

std::string comparison_text(const std::vector<ComparisonRow>& rows) {
  std::size_t width = 0;
  for (const ComparisonRow& r : rows) width = std::max(width, r.name.size());
  std::string text =
      fmt::format("{:{}}  accuracy  precision  recall  F1      ROC-AUC\n", "", width);
  for (const auto& [name, m] : rows)
    text += fmt::format("{:{}}  {:.4f}    {:.4f}     {:.4f}  {:.4f}  {:.4f}\n", name, width,
                        m.accuracy, m.precision, m.recall, m.f1, m.roc_auc);
  return text;
}

std::string comparison_csv(const std::vector<ComparisonRow>& rows) {
  std::string text = "detector,n,accuracy,precision,recall,f1,roc_auc\n";
  for (const auto& [name, m] : rows)
    text += fmt::format("{},{},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f}\n", csv_text(name), m.n,
                        m.accuracy, m.precision, m.recall, m.f1, m.roc_auc);
  return text;
}

}  // namespace dfengine
