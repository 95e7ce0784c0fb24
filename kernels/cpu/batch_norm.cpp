// Batch normalisation: float and bf16 go to the vectorised table, double is the plain oracle.
#include "kernels/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

#include "kernels/activation_function.h"
#include "kernels/base/error.h"
#include "kernels/cpu/simd/batch_norm.h"

namespace dfengine::cpu {
namespace {

void check_batch(const BatchNormProblem& p) {
  if (p.m < 2)
    throw ShapeError("batch norm over [" + std::to_string(p.m) + ", " + std::to_string(p.c) +
                     "]: batch statistics need more than one value per channel; use a larger "
                     "batch or freeze this layer's statistics");
}

// One channel of [M, C].
template <class T>
struct Channel {
  T mean, rstd, gamma, beta;
  T xhat(T x) const { return (x - mean) * rstd; }
  T value(T x) const { return gamma * xhat(x) + beta; }
};

template <class T>
void normalize_channel(const BatchNormProblem& p, const Channel<T>& channel, Index c, const T* x,
                       T* y) {
  for (Index i = c; i < p.m * p.c; i += p.c) y[i] = activate(p.activation, channel.value(x[i]));
}

template <class T>
T before_activation(const BatchNormProblem& p, const Channel<T>& channel, T x, T dy) {
  return passes_gradient(p.activation, channel.value(x)) ? dy : T{0};
}

template <class T>
void channel_sums(const BatchNormProblem& p, const Channel<T>& channel, Index c, const T* x,
                  const T* dy, T* dgamma, T* dbeta) {
  T sum = 0, sum_xhat = 0;
  for (Index i = c; i < p.m * p.c; i += p.c) {
    const T g = before_activation(p, channel, x[i], dy[i]);
    sum += g;
    sum_xhat += g * channel.xhat(x[i]);
  }
  dgamma[c] = sum_xhat;
  dbeta[c] = sum;
}

// Statistics of a batch: running ones, their next values, and what forward leaves to backward.
template <class T>
struct Statistics {
  const T *running_mean, *running_var;
  T *next_mean, *next_var, *saved_mean, *saved_rstd;
};

// From a channel's mean and m2, the sum of the squares around it, over so many rows.
template <class T>
void keep_moments(const BatchNormProblem& p, Index c, T mean, T m2, T rows,
                  const Statistics<T>& s) {
  s.next_mean[c] = s.running_mean[c] + p.momentum * (mean - s.running_mean[c]);
  s.next_var[c] = s.running_var[c] + p.momentum * (m2 / (rows - 1) - s.running_var[c]);
  s.saved_mean[c] = mean;
  s.saved_rstd[c] = 1 / std::sqrt(m2 / rows + p.eps);
}

// `follow` is by how much each row moves the statistics: 1 / M, or 0 where they are frozen.
template <class T>
void channel_data_gradient(const BatchNormProblem& p, const Channel<T>& channel, T follow, T sum,
                           T sum_xhat, Index c, const T* x, const T* dy, T* dx) {
  for (Index i = c; i < p.m * p.c; i += p.c) {
    T g = before_activation(p, channel, x[i], dy[i]);
    if (follow != 0) g -= follow * (sum + channel.xhat(x[i]) * sum_xhat);
    dx[i] = channel.gamma * channel.rstd * g;
  }
}

template <class T>
void channel_gradients(const BatchNormProblem& p, const Channel<T>& channel, T follow, Index c,
                       const T* x, const T* dy, T* dgamma, T* dbeta, T* dx) {
  channel_sums(p, channel, c, x, dy, dgamma, dbeta);
  if (dx != nullptr) channel_data_gradient(p, channel, follow, dbeta[c], dgamma[c], c, x, dy, dx);
}

}  // namespace

Index batch_norm_scratch(const BatchNormProblem& p) {
  return (kBatchNormVectors + kBatchNormSums * batch_norm_chunks(p)) * p.c;
}

template <class T>
void batch_norm_forward(const Context& ctx, const BatchNormProblem& p, const T* x,
                        const SumOf<T>* gamma, const SumOf<T>* beta, const SumOf<T>* running_mean,
                        const SumOf<T>* running_var, SumOf<T>* next_mean, SumOf<T>* next_var,
                        SumOf<T>* scratch, SumOf<T>* saved_mean, SumOf<T>* saved_rstd, T* y) {
  check_batch(p);
  if constexpr (!std::is_same_v<T, double>) {
    current_batch_norm_table<T>().forward(ctx, p, x, gamma, beta, running_mean, running_var,
                                          next_mean, next_var, scratch, saved_mean, saved_rstd, y);
  } else {
    const T rows = static_cast<T>(p.m);
    const Statistics<T> statistics{running_mean, running_var, next_mean,
                                   next_var,     saved_mean,  saved_rstd};
    for (Index c = 0; c < p.c; ++c) {
      T mean = 0, m2 = 0;
      for (Index i = c; i < p.m * p.c; i += p.c) mean += x[i] / rows;
      for (Index i = c; i < p.m * p.c; i += p.c) m2 += (x[i] - mean) * (x[i] - mean);
      keep_moments(p, c, mean, m2, rows, statistics);
      normalize_channel(p, Channel<T>{mean, saved_rstd[c], gamma[c], beta[c]}, c, x, y);
    }
  }
}

template <class T>
void batch_norm_again(const Context& ctx, const BatchNormProblem& p, const T* x,
                      const SumOf<T>* gamma, const SumOf<T>* beta, const SumOf<T>* saved_mean,
                      const SumOf<T>* saved_rstd, SumOf<T>* scratch, T* y) {
  if constexpr (!std::is_same_v<T, double>) {
    current_batch_norm_table<T>().again(ctx, p, x, gamma, beta, saved_mean, saved_rstd, scratch, y);
  } else {
    for (Index c = 0; c < p.c; ++c)
      normalize_channel(p, Channel<T>{saved_mean[c], saved_rstd[c], gamma[c], beta[c]}, c, x, y);
  }
}

template <class T>
void batch_norm_backward(const Context& ctx, const BatchNormProblem& p, const T* x, const T* dy,
                         const SumOf<T>* gamma, const SumOf<T>* beta, const SumOf<T>* saved_mean,
                         const SumOf<T>* saved_rstd, SumOf<T>* scratch, SumOf<T>* dgamma,
                         SumOf<T>* dbeta, T* dx) {
  check_batch(p);
  if constexpr (!std::is_same_v<T, double>) {
    current_batch_norm_table<T>().backward(ctx, p, x, dy, gamma, beta, saved_mean, saved_rstd,
                                           scratch, dgamma, dbeta, dx);
  } else {
    for (Index c = 0; c < p.c; ++c)
      channel_gradients(p, Channel<T>{saved_mean[c], saved_rstd[c], gamma[c], beta[c]},
                        1 / static_cast<T>(p.m), c, x, dy, dgamma, dbeta, dx);
  }
}

template <class T>
void batch_norm_forward_sums(const Context& ctx, const BatchNormProblem& p, const T* x,
                             SumOf<T>* scratch, double* sums) {
  if constexpr (!std::is_same_v<T, double>) {
    current_batch_norm_table<T>().forward_sums(ctx, p, x, scratch, sums);
  } else {
    std::fill_n(sums, 2 * p.c, 0.0);
    for (Index i = 0; i < p.m * p.c; ++i) {
      sums[i % p.c] += x[i];
      sums[p.c + i % p.c] += x[i] * x[i];
    }
  }
}

template <class T>
void batch_norm_forward_rest(const Context& ctx, const BatchNormProblem& p, Index rows,
                             const double* sums, const T* x, const SumOf<T>* gamma,
                             const SumOf<T>* beta, const SumOf<T>* running_mean,
                             const SumOf<T>* running_var, SumOf<T>* next_mean, SumOf<T>* next_var,
                             SumOf<T>* scratch, SumOf<T>* saved_mean, SumOf<T>* saved_rstd, T* y) {
  check_batch({rows, p.c});
  if constexpr (!std::is_same_v<T, double>) {
    current_batch_norm_table<T>().forward_rest(ctx, p, rows, sums, x, gamma, beta, running_mean,
                                               running_var, next_mean, next_var, scratch,
                                               saved_mean, saved_rstd, y);
  } else {
    const T m = static_cast<T>(rows);
    const Statistics<T> statistics{running_mean, running_var, next_mean,
                                   next_var,     saved_mean,  saved_rstd};
    for (Index c = 0; c < p.c; ++c) {
      const T mean = sums[c] / m, m2 = std::max(sums[p.c + c] - sums[c] * mean, 0.0);
      keep_moments(p, c, mean, m2, m, statistics);
      normalize_channel(p, Channel<T>{mean, saved_rstd[c], gamma[c], beta[c]}, c, x, y);
    }
  }
}

template <class T>
void batch_norm_backward_sums(const Context& ctx, const BatchNormProblem& p, const T* x,
                              const T* dy, const SumOf<T>* gamma, const SumOf<T>* beta,
                              const SumOf<T>* saved_mean, const SumOf<T>* saved_rstd,
                              SumOf<T>* scratch, SumOf<T>* dgamma, SumOf<T>* dbeta, double* sums) {
  if constexpr (!std::is_same_v<T, double>) {
    current_batch_norm_table<T>().backward_sums(ctx, p, x, dy, gamma, beta, saved_mean, saved_rstd,
                                                scratch, dgamma, dbeta, sums);
  } else {
    for (Index c = 0; c < p.c; ++c) {
      channel_sums(p, Channel<T>{saved_mean[c], saved_rstd[c], gamma[c], beta[c]}, c, x, dy, dgamma,
                   dbeta);
      sums[c] = dbeta[c];
      sums[p.c + c] = dgamma[c] / saved_rstd[c];
    }
  }
}

template <class T>
void batch_norm_backward_rest(const Context& ctx, const BatchNormProblem& p, Index rows,
                              const double* sums, const T* x, const T* dy, const SumOf<T>* gamma,
                              const SumOf<T>* beta, const SumOf<T>* saved_mean,
                              const SumOf<T>* saved_rstd, SumOf<T>* scratch, T* dx) {
  if constexpr (!std::is_same_v<T, double>) {
    current_batch_norm_table<T>().backward_rest(ctx, p, rows, sums, x, dy, gamma, beta, saved_mean,
                                                saved_rstd, scratch, dx);
  } else {
    for (Index c = 0; c < p.c; ++c)
      channel_data_gradient(p, Channel<T>{saved_mean[c], saved_rstd[c], gamma[c], beta[c]},
                            1 / static_cast<T>(rows), sums[c], sums[p.c + c] * saved_rstd[c], c, x,
                            dy, dx);
  }
}

template <class T>
void batch_norm_frozen_forward(const Context& ctx, const BatchNormProblem& p, const T* x,
                               const SumOf<T>* gamma, const SumOf<T>* beta, const SumOf<T>* mean,
                               const SumOf<T>* var, T* y) {
  if constexpr (!std::is_same_v<T, double>) {
    current_batch_norm_table<T>().frozen_forward(ctx, p, x, gamma, beta, mean, var, y);
  } else {
    for (Index c = 0; c < p.c; ++c) {
      const T rstd = 1 / std::sqrt(var[c] + p.eps);
      normalize_channel(p, Channel<T>{mean[c], rstd, gamma[c], beta[c]}, c, x, y);
    }
  }
}

template <class T>
void batch_norm_frozen_backward(const Context& ctx, const BatchNormProblem& p, const T* x,
                                const T* dy, const SumOf<T>* gamma, const SumOf<T>* beta,
                                const SumOf<T>* mean, const SumOf<T>* var, SumOf<T>* scratch,
                                SumOf<T>* dgamma, SumOf<T>* dbeta, T* dx) {
  if constexpr (!std::is_same_v<T, double>) {
    current_batch_norm_table<T>().frozen_backward(ctx, p, x, dy, gamma, beta, mean, var, scratch,
                                                  dgamma, dbeta, dx);
  } else {
    for (Index c = 0; c < p.c; ++c) {
      const T rstd = 1 / std::sqrt(var[c] + p.eps);
      channel_gradients(p, Channel<T>{mean[c], rstd, gamma[c], beta[c]}, T{0}, c, x, dy, dgamma,
                        dbeta, dx);
    }
  }
}

DF_EVERY_ELEMENT(batch_norm_forward);
DF_EVERY_ELEMENT(batch_norm_again);
DF_EVERY_ELEMENT(batch_norm_backward);
DF_EVERY_ELEMENT(batch_norm_forward_sums);
DF_EVERY_ELEMENT(batch_norm_forward_rest);
DF_EVERY_ELEMENT(batch_norm_backward_sums);
DF_EVERY_ELEMENT(batch_norm_backward_rest);
DF_EVERY_ELEMENT(batch_norm_frozen_forward);
DF_EVERY_ELEMENT(batch_norm_frozen_backward);

}  // namespace dfengine::cpu
