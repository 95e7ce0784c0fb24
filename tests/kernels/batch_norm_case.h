// A batch norm problem with data and its kernels on any target, for the tests of
// kernels/batch_norm.h.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/batch_norm.h"
#include "tests/kernels/kernel_data.h"

namespace dfengine::test {

inline constexpr Activation kActivations[] = {Activation::None, Activation::Relu,
                                              Activation::Relu6};

struct BatchNormCase {
  BatchNormProblem p;
  Doubles x, dy, gamma, beta, mean_in, var_in;

  static BatchNormCase random(Index m, Index c, Activation act, std::uint64_t seed) {
    return {.p = BatchNormProblem::make(m, c, 1e-3, 0.2, act),
            .x = random_uniform<double>(m * c, seed, -2, 3),
            .dy = random_uniform<double>(m * c, seed + 1),
            .gamma = random_uniform<double>(c, seed + 2, -1, 4),
            .beta = random_uniform<double>(c, seed + 3, -1, 5),
            .mean_in = random_uniform<double>(c, seed + 4),
            .var_in = random_uniform<double>(c, seed + 5, 0.5, 2)};
  }

  // gamma * xhat + beta of element i for the given statistics, in double.
  double before_activation(std::size_t i, const Doubles& mean, const Doubles& rstd) const {
    const std::size_t c = i % at(p.c);
    return gamma[c] * (x[i] - mean[c]) * rstd[c] + beta[c];
  }

  // Takes the gradient away wherever the value is so near to a kink that rounding, or a step of a
  // central difference, may cross it.
  void clear_gradient_near_kinks(const Doubles& mean, const Doubles& rstd, double margin) {
    for (std::size_t i = 0; i < dy.size(); ++i) {
      const double z = before_activation(i, mean, rstd);
      if (std::abs(z) < margin || std::abs(z - 6) < margin) dy[i] = 0;
    }
  }
};

// Statistics are those of the batch, or with Frozen the running mean and variance.
enum class Form { Batch, Frozen };

// ---- Calling conventions: all that the tests below know of them ------------------------------

template <class T>
Index scratch_count(Cpu<T>, const BatchNormProblem& p) {
  return cpu::batch_norm_scratch(p);
}
template <class T>
Index scratch_count(Device<T>, const BatchNormProblem& p) {
  return cuda::batch_norm_scratch(p);
}

template <class T, class... Rest>
void launch_forward(const Cpu<T>& on, const BatchNormProblem& p, Rest... rest) {
  cpu::batch_norm_forward<T>(on.context(), p, rest...);
}
template <class T, class... Rest>
void launch_forward(Device<T>, const BatchNormProblem& p, Rest... rest) {
  cuda::batch_norm_forward<T>(nullptr, p, rest...);
}

template <class T, class Sums, class... Rest>
void launch_again(const Cpu<T>& on, const BatchNormProblem& p, Sums* scratch, T* y, Rest... rest) {
  cpu::batch_norm_again<T>(on.context(), p, rest..., scratch, y);
}
template <class T, class Sums, class... Rest>
void launch_again(Device<T>, const BatchNormProblem& p, Sums*, T* y, Rest... rest) {
  cuda::batch_norm_again<T>(nullptr, p, rest..., y);
}

template <class T, class... Rest>
void launch_frozen_forward(const Cpu<T>& on, const BatchNormProblem& p, Rest... rest) {
  cpu::batch_norm_frozen_forward<T>(on.context(), p, rest...);
}
template <class T, class... Rest>
void launch_frozen_forward(Device<T>, const BatchNormProblem& p, Rest... rest) {
  cuda::batch_norm_frozen_forward<T>(nullptr, p, rest...);
}

// statistics: mean and rstd, or with Form::Frozen mean and variance.
template <class T>
void launch_backward(const Cpu<T>& on, Form form, const BatchNormProblem& p, const T* x,
                     const T* dy, const SumOf<T>* gamma, const SumOf<T>* beta, const SumOf<T>* mean,
                     const SumOf<T>* spread, SumOf<T>* scratch, SumOf<T>* dgamma, SumOf<T>* dbeta,
                     T* dx) {
  const auto kernel =
      form == Form::Batch ? cpu::batch_norm_backward<T> : cpu::batch_norm_frozen_backward<T>;
  kernel(on.context(), p, x, dy, gamma, beta, mean, spread, scratch, dgamma, dbeta, dx);
}
template <class T>
void launch_backward(Device<T>, Form form, const BatchNormProblem& p, const T* x, const T* dy,
                     const float* gamma, const float* beta, const float* mean, const float* spread,
                     float* scratch, float* dgamma, float* dbeta, T* dx) {
  const auto kernel =
      form == Form::Batch ? cuda::batch_norm_backward<T> : cuda::batch_norm_frozen_backward<T>;
  kernel(nullptr, p, x, dy, gamma, beta, mean, spread, scratch, dgamma, dbeta, dx);
}

// ---- Results in double --------------------------------------------------------------------------

struct BatchNormForward {
  Doubles y, mean, rstd, next_mean, next_var;
  bool operator==(const BatchNormForward&) const = default;
};

struct BatchNormBackward {
  Doubles dgamma, dbeta, dx;
  bool operator==(const BatchNormBackward&) const = default;
};

// NaN is itself here.
inline void expect_same_numbers(const Doubles& a, const Doubles& b) {
  EXPECT_TRUE(std::ranges::equal(
      a, b, [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); }));
}

template <class Target>
BatchNormForward forward(const Target& on, const BatchNormCase& d) {
  ValuesOn<Target> x(d.x), y(static_cast<Index>(d.x.size()));
  SumsOn<Target> gamma(d.gamma), beta(d.beta), mean_in(d.mean_in), var_in(d.var_in),
      next_mean(d.p.c), next_var(d.p.c), scratch(scratch_count(on, d.p)), mean(d.p.c), rstd(d.p.c);
  launch_forward(on, d.p, x.data(), gamma.data(), beta.data(), mean_in.data(), var_in.data(),
                 next_mean.data(), next_var.data(), scratch.data(), mean.data(), rstd.data(),
                 y.data());
  scratch.values();
  ValuesOn<Target> again(static_cast<Index>(d.x.size()));
  launch_again(on, d.p, scratch.data(), again.data(), x.data(), gamma.data(), beta.data(),
               mean.data(), rstd.data());
  expect_same_numbers(again.values(), y.values());
  return {y.values(), mean.values(), rstd.values(), next_mean.values(), next_var.values()};
}

template <class Target>
Doubles frozen_forward(const Target& on, const BatchNormCase& d) {
  ValuesOn<Target> x(d.x), y(static_cast<Index>(d.x.size()));
  SumsOn<Target> gamma(d.gamma), beta(d.beta), mean(d.mean_in), var(d.var_in);
  launch_frozen_forward(on, d.p, x.data(), gamma.data(), beta.data(), mean.data(), var.data(),
                        y.data());
  return y.values();
}

// dx lies in dy's memory; without dx it is dy, unchanged.
template <class Target>
BatchNormBackward backward(const Target& on, const BatchNormCase& d, Form form,
                           const Doubles& mean_at, const Doubles& spread_at, bool want_dx = true) {
  ValuesOn<Target> x(d.x), dy(d.dy);
  SumsOn<Target> gamma(d.gamma), beta(d.beta), mean(mean_at), spread(spread_at),
      scratch(scratch_count(on, d.p)), dgamma(d.p.c), dbeta(d.p.c);
  launch_backward(on, form, d.p, x.data(), dy.data(), gamma.data(), beta.data(), mean.data(),
                  spread.data(), scratch.data(), dgamma.data(), dbeta.data(),
                  want_dx ? dy.data() : nullptr);
  scratch.values();
  return {dgamma.values(), dbeta.values(), dy.values()};
}

inline Doubles rstd_of(const Doubles& var, double eps) {
  Doubles rstd;
  for (double v : var) rstd.push_back(1 / std::sqrt(v + eps));
  return rstd;
}

// The sums of absolute values that error bounds need, largest over the channels.
struct Magnitudes {
  double y = 0, dgamma = 0, dbeta = 0, dx = 0;
};

inline Magnitudes magnitudes(const BatchNormCase& d, const Doubles& mean, const Doubles& rstd) {
  const auto channels = at(d.p.c);
  Doubles g(channels, 0), g_xhat(channels, 0), xhat(channels, 0);
  Magnitudes out;
  for (std::size_t i = 0; i < d.x.size(); ++i) {
    const std::size_t c = i % channels;
    const double h = (std::abs(d.x[i]) + std::abs(mean[c])) * rstd[c];
    out.y = std::max(out.y, std::abs(d.gamma[c]) * h + std::abs(d.beta[c]));
    g[c] += std::abs(d.dy[i]);
    g_xhat[c] += std::abs(d.dy[i]) * h;
    xhat[c] = std::max(xhat[c], h);
  }
  for (std::size_t c = 0; c < channels; ++c) {
    const double m = static_cast<double>(d.p.m);
    out.dgamma = std::max(out.dgamma, g_xhat[c]);
    out.dbeta = std::max(out.dbeta, g[c]);
    out.dx = std::max(out.dx, std::abs(d.gamma[c]) * rstd[c] *
                                  (largest(d.dy) + g[c] / m + xhat[c] * g_xhat[c] / m));
  }
  return out;
}

}  // namespace dfengine::test
