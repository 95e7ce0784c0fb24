#include "engine/tables/metadata/logistic.h"

#include <fmt/format.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "engine/evaluate/metrics/calibration.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "kernels/base/sigmoid.h"

namespace dfengine {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void check(const Matrix& x, std::span<const int> label, std::span<const double> penalty) {
  if (std::ssize(x.values) != x.rows * x.cols || std::ssize(label) != x.rows ||
      std::ssize(penalty) != x.cols)
    throw ShapeError(fmt::format(
        "logistic regression: {} values, {} labels, {} penalties for {} rows of {} columns",
        x.values.size(), label.size(), penalty.size(), x.rows, x.cols));
  if (x.cols > kMaxFeatures)
    throw DataError(fmt::format("logistic regression: {} features, the most is {}: exclude columns",
                                x.cols, kMaxFeatures));
  const auto fakes = std::ranges::count(label, 1);
  if (fakes == 0 || fakes == x.rows)
    throw DataError(fmt::format("logistic regression: {} real and {} fake rows; both are needed",
                                x.rows - fakes, fakes));
  if (std::ranges::any_of(x.values, [](double v) { return !std::isfinite(v); }))
    throw DataError("logistic regression: a feature is not a finite number");
  if (std::ranges::any_of(penalty, [](double p) { return !(p > 0 && std::isfinite(p)); }))
    throw UsageError("logistic regression: a penalty must be positive");
}

// The objective at one point, with what a Newton step needs.
class Objective {
 public:
  Objective(const Matrix& x, std::span<const int> label, std::span<const double> penalty)
      : x_(x.values.data(), x.rows, x.cols), label_(label), penalty_(x.cols + 1) {
    for (Index j = 0; j < x.cols; ++j) penalty_[j] = penalty[at(j)];
    penalty_[x.cols] = 0;  // the intercept, last
  }

  Index size() const { return penalty_.size(); }

  double value(const Eigen::VectorXd& w) {
    z_ = x_ * w.head(x_.cols());
    z_.array() += w[x_.cols()];
    double sum = 0;
    for (Index i = 0; i < z_.size(); ++i) sum += log_loss(z_[i], label_[at(i)]);
    return sum + 0.5 * (penalty_.array() * w.array().square()).sum();
  }

  // Of the point of the last value().
  void derivatives(const Eigen::VectorXd& w, Eigen::VectorXd& gradient, Eigen::MatrixXd& hessian) {
    Eigen::VectorXd residual(z_.size()), root(z_.size());
    for (Index i = 0; i < z_.size(); ++i) {
      const double p = sigmoid(z_[i]);
      residual[i] = p - label_[at(i)];
      root[i] = std::sqrt(p * (1 - p));
    }
    const Index n = x_.cols();
    gradient.resize(n + 1);
    gradient.head(n) = x_.transpose() * residual;
    gradient[n] = residual.sum();
    gradient += penalty_.cwiseProduct(w);
    Eigen::MatrixXd scaled(z_.size(), n + 1);
    scaled.leftCols(n) = root.asDiagonal() * x_;
    scaled.col(n) = root;
    hessian.setZero(n + 1, n + 1);
    hessian.selfadjointView<Eigen::Lower>().rankUpdate(scaled.transpose());
    hessian.diagonal() += penalty_;
  }

 private:
  Eigen::Map<const RowMajor> x_;
  std::span<const int> label_;
  Eigen::VectorXd penalty_, z_;
};

// Halves the step until the objective falls; false when no step does: rounding is all that is left.
bool descend(Objective& f, Eigen::VectorXd& w, const Eigen::VectorXd& step, double& value) {
  for (double length = 1; length > 1e-10; length /= 2) {
    const Eigen::VectorXd next = w - length * step;
    const double there = f.value(next);
    if (there < value) {
      w = next;
      value = there;
      return true;
    }
  }
  return false;
}

// The given rows of x, in the given order.
Matrix take_rows(const Matrix& x, std::span<const Index> rows) {
  Matrix out{std::ssize(rows), x.cols, {}};
  out.values.reserve(static_cast<std::size_t>(out.rows * out.cols));
  for (Index i : rows) {
    const auto row = x.row(i);
    out.values.insert(out.values.end(), row.begin(), row.end());
  }
  return out;
}

}  // namespace

double LogisticRegression::logit(std::span<const double> x) const {
  if (x.size() != weights.size())
    throw ShapeError(
        fmt::format("logistic regression: {} features for {} weights", x.size(), weights.size()));
  double sum = intercept;
  for (std::size_t j = 0; j < x.size(); ++j) sum += weights[j] * x[j];
  return sum;
}

std::vector<double> LogisticRegression::logits(const Matrix& x) const {
  std::vector<double> out;
  for (Index i = 0; i < x.rows; ++i) out.push_back(logit(x.row(i)));
  return out;
}

LogisticRegression fit_logistic(const Matrix& x, std::span<const int> label,
                                std::span<const double> penalty) {
  check(x, label, penalty);
  Objective f(x, label, penalty);
  Eigen::VectorXd w = Eigen::VectorXd::Zero(f.size()), gradient;
  Eigen::MatrixXd hessian;
  double value = f.value(w);
  constexpr int kMaxSteps = 100;  // about ten are usual; the objective is convex
  for (int step = 0; step < kMaxSteps; ++step) {
    f.derivatives(w, gradient, hessian);
    const Eigen::VectorXd direction =
        hessian.selfadjointView<Eigen::Lower>().ldlt().solve(gradient);
    if (!direction.allFinite()) break;
    const Eigen::VectorXd before = w;
    if (!descend(f, w, direction, value)) {
      // Too near the minimum for the objective to tell: the full step is the better estimate.
      if (direction.norm() < 1e-6 * (1 + w.norm())) w = before - direction;
      break;
    }
    f.value(w);
  }
  LogisticRegression fit;
  fit.weights.assign(w.data(), w.data() + x.cols);
  fit.intercept = w[x.cols];
  return fit;
}

LogisticRegression fit_logistic(const Matrix& x, std::span<const int> label, double penalty) {
  return fit_logistic(x, label, std::vector<double>(static_cast<std::size_t>(x.cols), penalty));
}

double log_loss(double logit, int label) {
  const double z = label == 1 ? logit : -logit;
  return z > 0 ? std::log1p(std::exp(-z)) : -z + std::log1p(std::exp(z));
}

std::vector<int> stratified_folds(std::span<const int> label, int folds, std::uint64_t seed) {
  std::vector<std::size_t> order(label.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  Random random(seed, RandomStream::Folds, 0);
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
  std::vector<int> fold(label.size());
  int next[2] = {0, 0};
  for (std::size_t i : order) {
    int& dealt = next[label[i] == 1 ? 1 : 0];
    fold[i] = dealt++ % folds;
  }
  return fold;
}

std::vector<double> out_of_fold_logits(const Matrix& x, std::span<const int> label,
                                       std::span<const int> fold, std::span<const double> penalty) {
  std::vector<double> out(label.size(), 0.0);
  const int folds = fold.empty() ? 0 : 1 + *std::ranges::max_element(fold);
  for (int k = 0; k < folds; ++k) {
    std::vector<Index> inside, outside;
    std::vector<int> outside_label;
    for (std::size_t i = 0; i < label.size(); ++i) {
      (fold[i] == k ? inside : outside).push_back(static_cast<Index>(i));
      if (fold[i] != k) outside_label.push_back(label[i]);
    }
    const auto fakes = std::ranges::count(outside_label, 1);
    if (fakes == 0 || fakes == std::ssize(outside_label)) continue;
    const LogisticRegression fit = fit_logistic(take_rows(x, outside), outside_label, penalty);
    for (Index i : inside) out[at(i)] = fit.logit(x.row(i));
  }
  return out;
}

}  // namespace dfengine
