#include "engine/evaluate/metrics/classification.h"

#include "engine/evaluate/metrics/score_set.h"

namespace dfengine {
namespace {

constexpr MetricField kFields[] = {
    {"accuracy", "accuracy", &Metrics::accuracy, true},
    {"balanced_accuracy", "balanced accuracy", &Metrics::balanced_accuracy, true},
    {"precision", "precision", &Metrics::precision, true},
    {"recall", "recall", &Metrics::recall, true},
    {"specificity", "specificity", &Metrics::specificity, true},
    {"f1", "F1", &Metrics::f1, true},
    {"mcc", "MCC", &Metrics::mcc, true},
    {"roc_auc", "ROC-AUC", &Metrics::roc_auc, false},
    {"pr_auc", "PR-AUC", &Metrics::pr_auc, false},
    {"eer", "EER", &Metrics::eer, false},
    {"tpr_at_fpr_0.1", "TPR at FPR .1", &Metrics::tpr_at_fpr_10, false},
    {"tpr_at_fpr_0.01", "TPR at FPR .01", &Metrics::tpr_at_fpr_1, false},
    {"log_loss", "log loss", &Metrics::log_loss, false},
    {"brier", "Brier score", &Metrics::brier, false},
    {"ece", "calibration error", &Metrics::ece, false},
};

double ratio(double part, double whole) {
  return whole == 0 ? 0.0 : part / whole;
}

ClassReport::Row row(Index right, Index missed, Index wrong) {
  const auto r = static_cast<double>(right);
  return {ratio(r, static_cast<double>(right + wrong)),
          ratio(r, static_cast<double>(right + missed)),
          ratio(2 * r, static_cast<double>(2 * right + missed + wrong)), right + missed};
}

ClassReport::Row mean(const std::array<ClassReport::Row, 2>& rows, double w0, double w1) {
  const auto of = [&](double ClassReport::Row::*field) {
    return (w0 * rows[0].*field + w1 * rows[1].*field) / (w0 + w1);
  };
  return {of(&ClassReport::Row::precision), of(&ClassReport::Row::recall),
          of(&ClassReport::Row::f1), rows[0].support + rows[1].support};
}

}  // namespace

Metrics compute_metrics(std::span<const double> prob, std::span<const int> label,
                        double threshold) {
  return ScoreSet(prob, label).metrics(threshold);
}

std::span<const MetricField> metric_fields() {
  return kFields;
}

ClassReport class_report(const Confusion& c) {
  ClassReport report;
  report.by_label = {row(c.tn, c.fp, c.fn), row(c.tp, c.fn, c.fp)};
  report.macro = mean(report.by_label, 1, 1);
  report.weighted =
      mean(report.by_label, static_cast<double>(c.tn + c.fp), static_cast<double>(c.tp + c.fn));
  return report;
}

}  // namespace dfengine
