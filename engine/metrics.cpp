#include "engine/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/error.h"

namespace dfengine {
namespace {

void check(std::span<const double> prob, std::span<const int> label) {
  if (prob.size() != label.size() || prob.empty()) {
    throw ShapeError(fmt::format("metrics: {} probabilities for {} labels (equal and at least 1)",
                                 prob.size(), label.size()));
  }
  for (std::size_t i = 0; i < prob.size(); ++i) {
    if (std::isnan(prob[i])) {
      throw DataError(fmt::format(
          "metrics: probability {} is NaN; the model diverged, try a lower learning rate", i));
    }
    if (label[i] != 0 && label[i] != 1) {
      throw DataError(fmt::format("metrics: label {} is {}, not 0 or 1", i, label[i]));
    }
  }
}

double ratio(Index part, Index whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

double mean_log_loss(std::span<const double> prob, std::span<const int> label) {
  constexpr double kEps = std::numeric_limits<double>::epsilon();
  double sum = 0;
  for (std::size_t i = 0; i < prob.size(); ++i) {
    const double p = label[i] == 1 ? prob[i] : 1.0 - prob[i];
    sum -= std::log(std::clamp(p, kEps, 1.0 - kEps));
  }
  return sum / static_cast<double>(prob.size());
}

}  // namespace

double roc_auc(std::span<const double> prob, std::span<const int> label) {
  check(prob, label);
  std::vector<std::size_t> order(prob.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [prob](std::size_t a, std::size_t b) { return prob[a] < prob[b]; });
  // Counted in halves so that ties stay whole numbers.
  Index reals = 0, fakes = 0, half_wins = 0;
  for (std::size_t i = 0; i < order.size();) {
    Index tied_reals = 0, tied_fakes = 0;
    const double value = prob[order[i]];
    for (; i < order.size() && prob[order[i]] == value; ++i) {
      (label[order[i]] == 1 ? tied_fakes : tied_reals) += 1;
    }
    half_wins += tied_fakes * (2 * reals + tied_reals);
    reals += tied_reals;
    fakes += tied_fakes;
  }
  if (reals == 0 || fakes == 0) return std::numeric_limits<double>::quiet_NaN();
  return 0.5 * static_cast<double>(half_wins) /
         (static_cast<double>(reals) * static_cast<double>(fakes));
}

Metrics compute_metrics(std::span<const double> prob, std::span<const int> label,
                        double threshold) {
  Metrics m;
  m.roc_auc = roc_auc(prob, label);
  m.n = std::ssize(prob);
  m.threshold = threshold;
  for (std::size_t i = 0; i < prob.size(); ++i) {
    if (prob[i] < 0 || prob[i] > 1) {
      throw DataError(fmt::format("metrics: probability {} is {}, not in [0, 1]", i, prob[i]));
    }
    const bool fake = prob[i] >= threshold;
    Index& cell = label[i] == 1 ? (fake ? m.confusion.tp : m.confusion.fn)
                                : (fake ? m.confusion.fp : m.confusion.tn);
    ++cell;
  }
  const Confusion& c = m.confusion;
  m.accuracy = ratio(c.tp + c.tn, m.n);
  m.precision = ratio(c.tp, c.tp + c.fp);
  m.recall = ratio(c.tp, c.tp + c.fn);
  m.f1 = ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn);
  m.log_loss = mean_log_loss(prob, label);
  return m;
}

}  // namespace dfengine
