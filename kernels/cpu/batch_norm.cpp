// Batch normalisation: float and bf16 go to the vectorised table, double is the plain oracle.
#include "kernels/batch_norm.h"

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

// `follow` is by how much each row moves the statistics: 1 / M, or 0 where they are frozen.
template <class T>
void channel_gradients(const BatchNormProblem& p, const Channel<T>& channel, T follow, Index c,
                       const T* x, const T* dy, T* dgamma, T* dbeta, T* dx) {
  const auto gradient = [&](Index i) {
    return passes_gradient(p.activation, channel.value(x[i])) ? dy[i] : T{0};
  };
  T sum = 0, sum_xhat = 0;
  for (Index i = c; i < p.m * p.c; i += p.c) {
    sum += gradient(i);
    sum_xhat += gradient(i) * channel.xhat(x[i]);
  }
  dgamma[c] = sum_xhat;
  dbeta[c] = sum;
  for (Index i = c; dx != nullptr && i < p.m * p.c; i += p.c) {
    T g = gradient(i);
    if (follow != 0) g -= follow * (sum + channel.xhat(x[i]) * sum_xhat);
    dx[i] = channel.gamma * channel.rstd * g;
  }
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
    for (Index c = 0; c < p.c; ++c) {
      T mean = 0, m2 = 0;
      for (Index i = c; i < p.m * p.c; i += p.c) mean += x[i] / rows;
      for (Index i = c; i < p.m * p.c; i += p.c) m2 += (x[i] - mean) * (x[i] - mean);
      next_mean[c] = running_mean[c] + p.momentum * (mean - running_mean[c]);
      next_var[c] = running_var[c] + p.momentum * (m2 / (rows - 1) - running_var[c]);
      saved_mean[c] = mean;
      saved_rstd[c] = 1 / std::sqrt(m2 / rows + p.eps);
      normalize_channel(p, Channel<T>{mean, saved_rstd[c], gamma[c], beta[c]}, c, x, y);
    }
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
DF_EVERY_ELEMENT(batch_norm_backward);
DF_EVERY_ELEMENT(batch_norm_frozen_forward);
DF_EVERY_ELEMENT(batch_norm_frozen_backward);

}  // namespace dfengine::cpu
