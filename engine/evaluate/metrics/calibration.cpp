#include "engine/evaluate/metrics/calibration.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/evaluate/metrics/curves.h"
#include "kernels/base/error.h"
#include "kernels/base/sigmoid.h"

namespace dfengine {
namespace {

// First and second derivative of the mean negative log-likelihood by b = 1 / T.
struct Slope {
  double first = 0, second = 0;
};

Slope slope_at(double b, std::span<const double> logits, std::span<const int> label) {
  Slope s;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double p = sigmoid(b * logits[i]);
    // p - label without cancellation where p is close to 1.
    const double error = label[i] == 1 ? -sigmoid(-b * logits[i]) : p;
    s.first += error * logits[i];
    s.second += p * (1 - p) * logits[i] * logits[i];
  }
  return s;
}

}  // namespace

std::size_t reliability_bin(double prob) {
  std::size_t bin = 0;
  while (bin + 1 < kReliabilityBins &&
         prob > static_cast<double>(bin + 1) / static_cast<double>(kReliabilityBins))
    ++bin;
  return bin;
}

double expected_calibration_error(const Reliability& bins) {
  double sum = 0;
  Index n = 0;
  for (const ReliabilityBin& b : bins) {
    sum += static_cast<double>(b.n) * std::abs(b.share_fake - b.mean_prob);
    n += b.n;
  }
  return sum / static_cast<double>(n);
}

double fit_temperature(std::span<const double> logits, std::span<const int> label) {
  constexpr double kGreatest = 100;
  constexpr int kMostSteps = 100;
  const RankStep all = rank_scores(logits, label).back();
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (std::isinf(logits[i])) throw DataError(fmt::format("metrics: logit {} is infinite", i));
  double low = 1 / kGreatest, high = kGreatest;
  if (all.fp == 0 || all.tp == 0 || slope_at(low, logits, label).first >= 0 ||
      slope_at(high, logits, label).first <= 0)
    return 1;
  double b = 1;
  for (int step = 0; step < kMostSteps; ++step) {
    const Slope slope = slope_at(b, logits, label);
    (slope.first > 0 ? high : low) = b;
    double next = b - slope.first / slope.second;
    if (!(next > low && next < high)) next = 0.5 * (low + high);
    const double moved = std::abs(next - b);
    b = next;
    if (moved <= 1e-15 * b) break;
  }
  return 1 / b;
}

}  // namespace dfengine
