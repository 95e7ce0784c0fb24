#include "engine/tables/metadata/cascade.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/sigmoid.h"

namespace dfengine {
namespace {

constexpr int kSteps = 10;

// P(at most `errors` of n) where each goes wrong with chance p in (0, 1).
double binomial_cdf(Index errors, Index n, double p) {
  const auto count = static_cast<double>(n);
  double sum = 0;
  double log_term = count * std::log1p(-p);
  const double log_odds = std::log(p) - std::log1p(-p);
  for (Index k = 0; k <= errors; ++k) {
    sum += std::exp(log_term);
    const auto i = static_cast<double>(k);
    log_term += std::log((count - i) / (i + 1)) + log_odds;
  }
  return sum;
}

// One side's rows: how sure metadata is, and whether that is wrong.
struct Scored {
  double prob;
  bool wrong;
};

// The last prob of the widest part of `rows`, surest first, that keeps the budget.
std::optional<double> widest(const std::vector<Scored>& rows, double max_error) {
  const double risk = (1 - kCascadeConfidence) / 2;
  std::optional<double> best;
  std::size_t taken = 0;
  Index errors = 0;
  for (int step = 1; step <= kSteps; ++step) {
    std::size_t end = rows.size() * static_cast<std::size_t>(step) / kSteps;
    while (end > 0 && end < rows.size() && rows[end].prob == rows[end - 1].prob) --end;
    for (; taken < end; ++taken) errors += rows[taken].wrong ? 1 : 0;
    const auto n = static_cast<Index>(end);
    if (error_upper_bound(0, n, risk) > max_error) continue;
    if (error_upper_bound(errors, n, risk) > max_error) break;
    best = rows[end - 1].prob;
  }
  return best;
}

}  // namespace

double error_upper_bound(Index errors, Index n, double risk) {
  if (errors < 0 || errors > n || !(risk > 0 && risk < 1))
    throw UsageError(fmt::format("no error bound for {} errors in {} at risk {}", errors, n, risk));
  if (errors == n) return 1;
  double low = 0, high = 1;
  constexpr int kHalvings = 100;  // far past the last bit
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    (binomial_cdf(errors, n, middle) > risk ? low : high) = middle;
  }
  return high;
}

Cascade choose_cascade(std::span<const double> prob, std::span<const int> label, double max_error) {
  if (!(max_error > 0 && max_error < 0.5))
    throw UsageError(
        fmt::format("cascade: an error budget of {} is not between 0 and .5", max_error));
  if (prob.size() != label.size())
    throw ShapeError(
        fmt::format("cascade: {} probabilities for {} labels", prob.size(), label.size()));
  std::vector<Scored> real, fake;
  for (std::size_t i = 0; i < prob.size(); ++i)
    (prob[i] < 0.5 ? real : fake).push_back({prob[i], (prob[i] < 0.5) == (label[i] == 1)});
  std::ranges::stable_sort(real, {}, &Scored::prob);
  std::ranges::stable_sort(fake, std::ranges::greater(), &Scored::prob);
  Cascade c;
  c.real_below = widest(real, max_error);
  c.fake_above = widest(fake, max_error);
  c.max_error = max_error;
  c.confidence = kCascadeConfidence;
  return c;
}

double CascadeReport::decided() const {
  return rows == 0 ? 0.0 : static_cast<double>(called_real + called_fake) / double(rows);
}

double CascadeReport::seconds() const {
  return metadata_seconds + (1 - decided()) * image_seconds;
}

CascadeReport evaluate_cascade(const Cascade& cascade, std::span<const double> prob,
                               std::span<const int> label) {
  CascadeReport r;
  r.rows = std::ssize(prob);
  for (std::size_t i = 0; i < prob.size(); ++i) {
    const int called = cascade.decide(prob[i]);
    if (called < 0) continue;
    ++(called == 1 ? r.called_fake : r.called_real);
    r.errors += called != label[i];
  }
  return r;
}

std::vector<double> cascade_logits(const Cascade& cascade, std::span<const double> metadata,
                                   std::span<const double> image) {
  std::vector<double> out(image.begin(), image.end());
  for (std::size_t i = 0; i < out.size(); ++i)
    if (cascade.decide(sigmoid(metadata[i])) >= 0) out[i] = metadata[i];
  return out;
}

}  // namespace dfengine
