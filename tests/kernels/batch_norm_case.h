// A batch norm problem with data, in float or double, for the tests of kernels/batch_norm.h.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/batch_norm.h"
#include "tests/kernels/kernel_data.h"

namespace dfengine::test {

inline constexpr Activation kActivations[] = {Activation::None, Activation::Relu,
                                              Activation::Relu6};

template <class T>
struct BatchNormCase {
  BatchNormProblem p;
  std::vector<T> x, dy, gamma, beta, mean_in, var_in;

  static BatchNormCase random(Index m, Index c, Activation act, std::uint64_t seed) {
    return {.p = BatchNormProblem::make(m, c, 1e-3, 0.2, act),
            .x = random_values<T>(m * c, seed, -2, 3),
            .dy = random_values<T>(m * c, seed + 1),
            .gamma = random_values<T>(c, seed + 2, -1, 4),
            .beta = random_values<T>(c, seed + 3, -1, 5),
            .mean_in = random_values<T>(c, seed + 4),
            .var_in = random_values<T>(c, seed + 5, 0.5, 2)};
  }

  template <class U>
  BatchNormCase<U> as() const {
    const auto convert = [](const std::vector<T>& v) { return std::vector<U>(v.begin(), v.end()); };
    return {p,
            convert(x),
            convert(dy),
            convert(gamma),
            convert(beta),
            convert(mean_in),
            convert(var_in)};
  }

  // gamma * xhat + beta of element i for the given statistics, in double.
  double before_activation(std::size_t i, const std::vector<double>& mean,
                           const std::vector<double>& rstd) const {
    const std::size_t c = i % static_cast<std::size_t>(p.c);
    return gamma[c] * (x[i] - mean[c]) * rstd[c] + beta[c];
  }

  // Takes the gradient away wherever the value is so near to a kink that rounding, or a step of a
  // central difference, may cross it.
  void clear_gradient_near_kinks(const std::vector<double>& mean, const std::vector<double>& rstd,
                                 double margin) {
    for (std::size_t i = 0; i < dy.size(); ++i) {
      const double z = before_activation(i, mean, rstd);
      if (std::abs(z) < margin || std::abs(z - 6) < margin) dy[i] = 0;
    }
  }
};

template <class T>
struct BatchNormForward {
  std::vector<T> y, mean, rstd, running_mean, running_var;
};

template <class T>
std::vector<T> batch_norm_scratch_buffer(const BatchNormProblem& p) {
  // NaN: a kernel that reads what it has not written shows.
  return std::vector<T>(static_cast<std::size_t>(cpu::batch_norm_scratch(p)),
                        static_cast<T>(std::nan("")));
}

template <class T>
BatchNormForward<T> forward(const BatchNormCase<T>& d, int threads = 1) {
  cpu::ThreadPool pool(threads);
  BatchNormForward<T> out{d.x, d.beta, d.beta, d.mean_in, d.var_in};
  std::vector<T> scratch = batch_norm_scratch_buffer<T>(d.p);
  cpu::batch_norm_forward({pool}, d.p, d.x.data(), d.gamma.data(), d.beta.data(),
                          out.running_mean.data(), out.running_var.data(), scratch.data(),
                          out.mean.data(), out.rstd.data(), out.y.data());
  return out;
}

template <class T>
std::vector<T> frozen_forward(const BatchNormCase<T>& d, int threads = 1) {
  cpu::ThreadPool pool(threads);
  std::vector<T> y(d.x.size());
  cpu::batch_norm_frozen_forward({pool}, d.p, d.x.data(), d.gamma.data(), d.beta.data(),
                                 d.mean_in.data(), d.var_in.data(), y.data());
  return y;
}

template <class T>
struct BatchNormBackward {
  std::vector<T> dgamma, dbeta, dx;
};

// Statistics are saved mean and rstd, or with Frozen the running mean and variance.
enum class Form { Batch, Frozen };

template <class T>
BatchNormBackward<T> backward(const BatchNormCase<T>& d, Form form, const std::vector<T>& mean,
                              const std::vector<T>& spread, Write write = Write::Overwrite,
                              int threads = 1, bool want_dx = true) {
  cpu::ThreadPool pool(threads);
  // dgamma and dbeta start at 2: Accumulate must add, Overwrite must not.
  BatchNormBackward<T> out{std::vector<T>(d.gamma.size(), 2), std::vector<T>(d.gamma.size(), 2),
                           d.dy};
  std::vector<T> scratch = batch_norm_scratch_buffer<T>(d.p);
  const auto kernel =
      form == Form::Batch ? cpu::batch_norm_backward<T> : cpu::batch_norm_frozen_backward<T>;
  // dx may be dy: out.dx starts as dy and is both.
  const T* dy = want_dx ? out.dx.data() : d.dy.data();
  kernel({pool}, d.p, d.x.data(), dy, d.gamma.data(), d.beta.data(), mean.data(), spread.data(),
         scratch.data(), write, out.dgamma.data(), out.dbeta.data(),
         want_dx ? out.dx.data() : nullptr);
  return out;
}

inline std::vector<double> rstd_of(const std::vector<double>& var, double eps) {
  std::vector<double> rstd;
  for (double v : var) rstd.push_back(1 / std::sqrt(v + eps));
  return rstd;
}

// The sums of absolute values that error bounds need, largest over the channels.
struct Magnitudes {
  double y = 0, dgamma = 2, dbeta = 2, dx = 0;
};

inline Magnitudes magnitudes(const BatchNormCase<double>& d, const std::vector<double>& mean,
                             const std::vector<double>& rstd) {
  const auto channels = static_cast<std::size_t>(d.p.c);
  std::vector<double> g(channels, 0), g_xhat(channels, 0), xhat(channels, 0);
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
    out.dgamma = std::max(out.dgamma, 2 + g_xhat[c]);
    out.dbeta = std::max(out.dbeta, 2 + g[c]);
    out.dx = std::max(out.dx, std::abs(d.gamma[c]) * rstd[c] *
                                  (largest(d.dy) + g[c] / m + xhat[c] * g_xhat[c] / m));
  }
  return out;
}

}  // namespace dfengine::test
