#include "engine/report/evaluation_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/evaluate/metrics/calibration.h"
#include "engine/evaluate/metrics/curves.h"

namespace dfengine::report {
namespace {

Chart unit_chart(const char* title, const char* x, const char* y) {
  Chart chart;
  chart.title = title;
  chart.x = {x, 0.0, 1.0};
  chart.y = {y, 0.0, 1.0};
  chart.square = true;
  return chart;
}

double share(Index part, Index whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

// As people read it: thresholds that look alike are one.
std::string short_text(double threshold) {
  return fmt::format("{:.3g}", threshold);
}

std::string at_text(double threshold) {
  return "threshold " + short_text(threshold);
}

bool looks_like_half(double threshold) {
  return short_text(threshold) == short_text(0.5);
}

// The thresholds people ask about: the model's own and, where it is another, 0.5.
std::vector<double> thresholds(double threshold) {
  if (looks_like_half(threshold)) return {threshold};
  return {threshold, 0.5};
}

// A dot for each threshold, where x and y say.
template <class X, class Y>
void add_dots(Chart& chart, std::span<const double> prob, std::span<const int> label,
              double threshold, X x, Y y) {
  for (double t : thresholds(threshold)) {
    const Confusion c = compute_metrics(prob, label, t).confusion;
    chart.series.push_back(
        {"at " + short_text(t), {x(c)}, {y(c)}, t == threshold ? Ink::B : Ink::Muted, Shape::Line});
  }
}

NamedChart roc_chart(std::span<const RankStep> steps, std::span<const double> prob,
                     std::span<const int> label, double threshold) {
  RocCurve roc = roc_curve(steps);
  Chart chart = unit_chart("ROC", "share of reals called fake (FPR)", "share of fakes found (TPR)");
  chart.series = {{"chance", {0, 1}, {0, 1}, Ink::Muted, Shape::Line, true},
                  {fmt::format("AUC {}", figure(roc_auc(steps), 4)), std::move(roc.fpr),
                   std::move(roc.tpr), Ink::A}};
  add_dots(
      chart, prob, label, threshold, [](const Confusion& c) { return share(c.fp, c.fp + c.tn); },
      [](const Confusion& c) { return share(c.tp, c.tp + c.fn); });
  return {"roc", svg(chart)};
}

NamedChart pr_chart(std::span<const RankStep> steps, std::span<const double> prob,
                    std::span<const int> label, double threshold) {
  const PrecisionRecallCurve curve = precision_recall_curve(steps);
  // Its points with rising recall; between two of them the precision of the later holds, as the
  // area is summed (average_precision). Points that find no new fake add nothing to that.
  Series line{fmt::format("average precision {}", figure(average_precision(steps), 4)),
              {},
              {},
              Ink::A,
              Shape::Step};
  for (std::size_t i = curve.precision.size(); i-- > 1;) {
    if (curve.recall[i] == curve.recall[i - 1]) continue;
    line.x.push_back(curve.recall[i]);
    line.y.push_back(curve.precision[i - 1]);
  }
  line.x.push_back(curve.recall.front());
  line.y.push_back(curve.precision.front());
  const double fakes = share(steps.back().tp, steps.back().tp + steps.back().fp);
  Chart chart = unit_chart("Precision and recall", "share of fakes found (recall)",
                           "share of fakes among those called fake (precision)");
  chart.series = {{"chance", {0, 1}, {fakes, fakes}, Ink::Muted, Shape::Line, true},
                  std::move(line)};
  add_dots(
      chart, prob, label, threshold, [](const Confusion& c) { return share(c.tp, c.tp + c.fn); },
      [](const Confusion& c) { return share(c.tp, c.tp + c.fp); });
  return {"precision_recall", svg(chart)};
}

NamedChart reliability_chart(std::span<const double> prob, std::span<const int> label) {
  const Reliability bins = reliability(prob, label);
  Series line{
      fmt::format("model, calibration error {}", figure(expected_calibration_error(bins), 4)),
      {},
      {},
      Ink::A};
  line.dots = true;
  for (const ReliabilityBin& bin : bins) {
    if (bin.n == 0) continue;
    const Interval interval = wilson_interval(bin.share_fake, bin.n);
    line.x.push_back(bin.mean_prob);
    line.y.push_back(bin.share_fake);
    line.low.push_back(interval.low);
    line.high.push_back(interval.high);
  }
  Chart chart =
      unit_chart("Reliability", "mean probability of fake in the bin", "share of fakes in the bin");
  chart.series = {{"perfect", {0, 1}, {0, 1}, Ink::Muted, Shape::Line, true}, std::move(line)};
  return {"reliability", svg(chart)};
}

NamedChart score_chart(std::span<const double> prob, std::span<const int> label, double threshold) {
  constexpr std::size_t kBins = 20;
  Series real{"real", {}, std::vector<double>(kBins, 0), Ink::Real, Shape::Bars};
  Series fake{"fake", {}, std::vector<double>(kBins, 0), Ink::Fake, Shape::Bars};
  for (std::size_t i = 0; i <= kBins; ++i) {
    real.x.push_back(static_cast<double>(i) / kBins);
    fake.x.push_back(static_cast<double>(i) / kBins);
  }
  for (std::size_t i = 0; i < prob.size(); ++i) {
    const auto bin = std::min(static_cast<std::size_t>(prob[i] * kBins), kBins - 1);
    ++(label[i] == 1 ? fake : real).y[bin];
  }
  Chart chart = unit_chart("Scores", "probability of fake", "pictures");
  chart.y.high.reset();
  chart.square = false;
  chart.series = {std::move(real), std::move(fake)};
  chart.rules = {{threshold, at_text(threshold)}};
  return {"scores", svg(chart)};
}

void add_confusion(std::vector<NamedChart>& charts, const Confusion& c, double threshold) {
  const std::vector<std::vector<Index>> counts = {{c.tn, c.fp}, {c.fn, c.tp}};
  MatrixChart chart{fmt::format("Pictures at {}", at_text(threshold)), {"real", "fake"}, {}};
  MatrixChart shares{fmt::format("Shares at {}", at_text(threshold)), {"real", "fake"}, {}, 3};
  for (const auto& row : counts) {
    const Index pictures = row[0] + row[1];
    chart.cells.push_back({static_cast<double>(row[0]), static_cast<double>(row[1])});
    shares.cells.push_back({share(row[0], pictures), share(row[1], pictures)});
  }
  charts.push_back({kMatrix + short_text(threshold), svg(chart)});
  charts.push_back({kMatrix + short_text(threshold) + "_shares", svg(shares)});
}

}  // namespace

std::string figure(double value, int decimals) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, decimals) : "n/a";
}

std::string interval_text(const Interval& interval) {
  if (std::isnan(interval.low) && std::isnan(interval.high)) return "none";
  return fmt::format("{} to {}", figure(interval.low, 3), figure(interval.high, 3));
}

std::vector<NamedChart> evaluation_charts(const Scores& scores, std::span<const int> label,
                                          double threshold) {
  const std::vector<RankStep> steps = rank_scores(scores.rank, label);
  std::vector<NamedChart> charts = {roc_chart(steps, scores.prob, label, threshold),
                                    pr_chart(steps, scores.prob, label, threshold),
                                    reliability_chart(scores.prob, label),
                                    score_chart(scores.prob, label, threshold)};
  for (double t : thresholds(threshold))
    add_confusion(charts, compute_metrics(scores, label, t).confusion, t);
  return charts;
}

Table metric_table(const Metrics& at_threshold, const Metrics& at_half,
                   std::span<const Interval> intervals) {
  const bool both = !looks_like_half(at_threshold.threshold);
  Table table{"", {"metric", "", "95 % interval"}, {}};
  table.columns[1] = "at " + short_text(at_threshold.threshold);
  if (both) table.columns.push_back("at 0.5");
  const std::span<const MetricField> fields = metric_fields();
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto value = fields[i].value;
    table.rows.push_back({fields[i].title, figure(at_threshold.*value, 4),
                          i < intervals.size() ? interval_text(intervals[i]) : ""});
    if (both) table.rows.back().push_back(fields[i].at_threshold ? figure(at_half.*value, 4) : "");
  }
  return table;
}

Table class_table(const Confusion& confusion, const std::vector<std::string>& classes) {
  const ClassReport report = class_report(confusion);
  Table table{"", {"class", "precision", "recall", "F1", "pictures"}, {}};
  const auto add = [&](const std::string& name, const ClassReport::Row& row) {
    table.rows.push_back({name, figure(row.precision, 4), figure(row.recall, 4), figure(row.f1, 4),
                          std::to_string(row.support)});
  };
  for (std::size_t i = 0; i < report.by_label.size(); ++i) add(classes.at(i), report.by_label[i]);
  add("plain mean", report.macro);
  add("weighted mean", report.weighted);
  return table;
}

}  // namespace dfengine::report
