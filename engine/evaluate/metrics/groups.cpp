#include "engine/evaluate/metrics/groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr double GroupRow::*kFigures[] = {&GroupRow::roc_auc, &GroupRow::accuracy,
                                          &GroupRow::tpr_at_fpr_1, &GroupRow::tpr_at_fpr_05};

GroupRow measure(const std::string& name, const std::vector<std::size_t>& members,
                 const Scores& scores, std::span<const int> label, double threshold) {
  GroupRow row{.group = name};
  std::vector<double> prob, rank;
  std::vector<int> classes;
  const auto take = [&](std::size_t i) {
    prob.push_back(scores.prob[i]);
    rank.push_back(scores.rank[i]);
    classes.push_back(label[i]);
  };
  for (std::size_t i : members) {
    take(i);
    ++(label[i] == 1 ? row.fake : row.real);
  }
  row.accuracy = compute_metrics({prob, rank}, classes, threshold).accuracy;
  if (row.real == 0 || row.fake == 0) {
    const int missing = row.real == 0 ? 0 : 1;
    for (std::size_t i = 0; i < label.size(); ++i)
      if (label[i] == missing) take(i);
  }
  const Metrics m = compute_metrics({prob, rank}, classes, threshold);
  row.roc_auc = m.roc_auc;
  row.tpr_at_fpr_1 = m.tpr_at_fpr_1;
  row.tpr_at_fpr_05 = m.tpr_at_fpr_05;
  return row;
}

// One row of each figure's `choose` over the rows that have it.
template <class Choose>
GroupRow merged(std::span<const GroupRow> rows, const std::string& name, Choose&& choose) {
  GroupRow all{.group = name};
  for (const GroupRow& row : rows) {
    if (row.beside) continue;
    all.real += row.real;
    all.fake += row.fake;
  }
  for (const auto figure : kFigures) {
    std::vector<double> values;
    for (const GroupRow& row : rows)
      if (!row.beside && !std::isnan(row.*figure)) values.push_back(row.*figure);
    all.*figure = values.empty() ? std::numeric_limits<double>::quiet_NaN() : choose(values);
  }
  return all;
}

nlohmann::json row_to_json(const GroupRow& row) {
  return {{"group", row.group},
          {"real", row.real},
          {"fake", row.fake},
          {"roc_auc", row.roc_auc},
          {"accuracy", row.accuracy},
          {"tpr_at_fpr_0.01", row.tpr_at_fpr_1},
          {"tpr_at_fpr_0.005", row.tpr_at_fpr_05}};
}

}  // namespace

std::vector<GroupRow> measure_groups(const Scores& scores, std::span<const int> label,
                                     std::span<const std::string> group, double threshold) {
  const std::size_t n = group.size();
  if (scores.prob.size() != n || scores.rank.size() != n || label.size() != n)
    throw ShapeError("figures by group: a probability, a label and a group for each picture");
  std::map<std::string, std::vector<std::size_t>> members;
  for (std::size_t i = 0; i < group.size(); ++i) members[group[i]].push_back(i);
  std::vector<GroupRow> rows;
  for (const auto& [name, of] : members)
    rows.push_back(measure(name, of, scores, label, threshold));
  return rows;
}

GroupRow mean_of(std::span<const GroupRow> rows) {
  return merged(rows, "mean", [](const std::vector<double>& values) {
    double sum = 0;
    for (double v : values) sum += v;
    return sum / static_cast<double>(values.size());
  });
}

GroupRow worst_of(std::span<const GroupRow> rows) {
  return merged(rows, "worst",
                [](const std::vector<double>& values) { return std::ranges::min(values); });
}

nlohmann::json to_json(std::span<const GroupRow> rows) {
  nlohmann::json groups = nlohmann::json::array();
  for (const GroupRow& row : rows) groups.push_back(row_to_json(row));
  return {{"groups", groups},
          {"mean", row_to_json(mean_of(rows))},
          {"worst", row_to_json(worst_of(rows))}};
}

std::string to_text(std::span<const GroupRow> rows) {
  std::size_t width = std::string("group").size();
  for (const GroupRow& row : rows) width = std::max(width, row.group.size());
  std::string text =
      fmt::format("{:{}}  {:>6}  {:>6}  ROC-AUC  accuracy  TPR at FPR .01  at .005\n", "group",
                  width, "real", "fake");
  const auto figure = [](double value) {
    return std::isnan(value) ? std::string("-") : fmt::format("{:.4f}", value);
  };
  const auto line = [&](const GroupRow& row) {
    text += fmt::format("{:{}}  {:6}  {:6}  {:>7}  {:>8}  {:>14}  {:>7}\n", row.group, width,
                        row.real, row.fake, figure(row.roc_auc), figure(row.accuracy),
                        figure(row.tpr_at_fpr_1), figure(row.tpr_at_fpr_05));
  };
  for (const GroupRow& row : rows) line(row);
  line(mean_of(rows));
  line(worst_of(rows));
  return text + "A group of one class is set against all pictures of the other.\n";
}

}  // namespace dfengine
