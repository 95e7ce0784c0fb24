#include "engine/tables/metadata/hybrid.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/data/digest.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr int kFolds = 5;
constexpr std::uint64_t kSeed = 0;
constexpr std::array<double, 5> kPenalties = {1, 10, 100, 1000, 10000};
constexpr double kStandardErrors = 1;

double deviation(const std::vector<double>& values) {
  double mean = 0, squares = 0;
  const auto n = static_cast<double>(values.size());
  for (double v : values) mean += v / n;
  for (double v : values) squares += (v - mean) * (v - mean) / n;
  return squares > 0 ? std::sqrt(squares) : 1.0;
}

// [image / scale | x].
Matrix beside(const std::vector<double>& image, double scale, const Matrix& x) {
  Matrix out{std::ssize(image), x.cols + 1, {}};
  for (Index i = 0; i < out.rows; ++i) {
    out.values.push_back(image[at(i)] / scale);
    const auto row = x.row(i);
    out.values.insert(out.values.end(), row.begin(), row.end());
  }
  return out;
}

std::vector<double> penalties(Index metadata_features, double penalty) {
  std::vector<double> each(static_cast<std::size_t>(metadata_features + 1), penalty);
  each[0] = kDefaultPenalty;
  return each;
}

std::vector<double> row_losses(const std::vector<double>& logits, const std::vector<int>& label) {
  std::vector<double> losses;
  for (std::size_t i = 0; i < label.size(); ++i) losses.push_back(log_loss(logits[i], label[i]));
  return losses;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

// Whether b is below a by more than chance makes of it.
bool clearly_less(const std::vector<double>& b, const std::vector<double>& a) {
  std::vector<double> gain;
  for (std::size_t i = 0; i < a.size(); ++i) gain.push_back(a[i] - b[i]);
  return mean(gain) > kStandardErrors * deviation(gain) / std::sqrt(double(gain.size()));
}

int fold_count(const std::vector<int>& label) {
  const auto fakes = std::ranges::count(label, 1);
  const auto fewest = std::min(fakes, std::ssize(label) - fakes);
  if (fewest < 2)
    throw DataError(fmt::format("hybrid: {} real and {} fake rows; two of each at the least",
                                std::ssize(label) - fakes, fakes));
  return static_cast<int>(std::min<std::ptrdiff_t>(kFolds, fewest));
}

}  // namespace

HybridFit fit_hybrid(const CsvTable& table, const std::vector<int>& label,
                     const std::vector<double>& image_logit,
                     const std::vector<std::string>& columns, const std::string& name) {
  const std::vector<int> fold = stratified_folds(label, fold_count(label), kSeed);
  const Encoder encoder = fit_encoder(table, columns, name);
  const double scale = deviation(image_logit);
  const Matrix nothing{std::ssize(label), 0, {}};
  const Matrix x = beside(image_logit, scale, encoder.encode(table, name));
  const auto losses = [&](const Matrix& features, double penalty) {
    return row_losses(
        out_of_fold_logits(features, label, fold, penalties(features.cols - 1, penalty)), label);
  };
  const std::vector<double> alone = losses(beside(image_logit, scale, nothing), kDefaultPenalty);
  std::vector<double> best = alone;
  double best_penalty = 0;
  for (double penalty : kPenalties) {
    std::vector<double> here = losses(x, penalty);
    if (mean(here) >= mean(best)) continue;
    best = std::move(here);
    best_penalty = penalty;
  }
  HybridFit fit;
  fit.image_loss = mean(alone);
  fit.hybrid_loss = mean(best);
  fit.model.metadata.trained_on = digest(table);
  if (best_penalty == 0 || !clearly_less(best, alone)) return fit;
  LogisticRegression& regression = fit.model.metadata.regression;
  regression = fit_logistic(x, label, penalties(x.cols - 1, best_penalty));
  fit.model.image_weight = regression.weights[0] / scale;
  regression.weights.erase(regression.weights.begin());
  fit.model.metadata.encoder = encoder;
  return fit;
}

}  // namespace dfengine
