// Batch normalisation (see kernels/batch_norm.h). It is bound by memory: statistics cost
// one pass over it and the result another. What is per channel is computed in double between the
// passes.
#include "kernels/cpu/simd/batch_norm.h"

#include "kernels/cpu/simd/batch_norm_rows.h"

namespace dfengine::cpu::DF_ISA {
namespace {

using Scratch = BatchNormScratch;
using Rows = BatchNormRows;

// Calls body(begin, width, mean, m2) for blocks of channels, of all rows.
template <class Body>
DF_INLINE void for_moments(const Context& ctx, const BatchNormProblem& p, const Scratch& s,
                           const Stored* x, Body&& body) {
  parallel_for(ctx.pool, batch_norm_chunks(p), [&](Index chunk, int) {
    const Rows rows(p, chunk);
    chunk_moments(x + rows.begin * p.c, rows.count, p.c, s.sum(chunk, 0), s.sum(chunk, 1),
                  s.sum(chunk, 2));
  });
  for_channel_blocks(ctx, p.c, [&](Index begin, Index width) {
    double mean[kMergeChannels], m2[kMergeChannels];
    merge_moments(p, s, begin, width, mean, m2);
    body(begin, width, mean, m2);
  });
}

void apply(const Context& ctx, const BatchNormProblem& p, const Scratch& s, const Stored* x,
           Stored* y) {
  const bool stream = streams(p, y);
  with_activation(p.activation, [&](auto act) {
    for_chunks_backwards(ctx, p, [&](Index chunk) {
      const Rows rows(p, chunk);
      const auto apply =
          stream ? apply_rows<decltype(act)::value, true> : apply_rows<decltype(act)::value, false>;
      apply(x + rows.begin * p.c, rows.count, p.c, p.c, s.scale, s.shift, y + rows.begin * p.c);
    });
  });
}

// Statistics of a batch: running ones, their next values, and what forward leaves to backward.
struct Statistics {
  const float *running_mean, *running_var;
  float *next_mean, *next_var, *saved_mean, *saved_rstd;
};

// From a channel's mean and m2, the sum of the squares around it, over m rows.
DF_INLINE void keep_moments(const BatchNormProblem& p, Index c, double mean, double m2, double m,
                            const Statistics& s) {
  const double keep = 1.0 - p.momentum;
  s.next_mean[c] = static_cast<float>(keep * s.running_mean[c] + p.momentum * mean);
  s.next_var[c] = static_cast<float>(keep * s.running_var[c] + p.momentum * m2 / (m - 1.0));
  s.saved_mean[c] = static_cast<float>(mean);
  s.saved_rstd[c] = static_cast<float>(1.0 / __builtin_sqrt(m2 / m + p.eps));
}

void forward(const Context& ctx, const BatchNormProblem& p, const Stored* x, const float* gamma,
             const float* beta, const float* running_mean, const float* running_var,
             float* next_mean, float* next_var, float* scratch, float* saved_mean,
             float* saved_rstd, Stored* y) {
  const Scratch s(p, scratch);
  const double m = static_cast<double>(p.m);
  const Statistics statistics{running_mean, running_var, next_mean,
                              next_var,     saved_mean,  saved_rstd};
  for_moments(ctx, p, s, x, [&](Index begin, Index width, const double* mean, const double* m2) {
    for (Index i = 0; i < width; ++i) {
      const Index c = begin + i;
      keep_moments(p, c, mean[i], m2[i], m, statistics);
      scale_shift(gamma[c], beta[c], saved_mean[c], saved_rstd[c], s.scale + c, s.shift + c);
    }
  });
  apply(ctx, p, s, x, y);
}

void again(const Context& ctx, const BatchNormProblem& p, const Stored* x, const float* gamma,
           const float* beta, const float* saved_mean, const float* saved_rstd, float* scratch,
           Stored* y) {
  const Scratch s(p, scratch);
  for (Index c = 0; c < p.c; ++c)
    scale_shift(gamma[c], beta[c], saved_mean[c], saved_rstd[c], s.scale + c, s.shift + c);
  apply(ctx, p, s, x, y);
}

void forward_sums(const Context& ctx, const BatchNormProblem& p, const Stored* x, float* scratch,
                  double* sums) {
  const double m = static_cast<double>(p.m);
  for_moments(ctx, p, Scratch(p, scratch), x,
              [&](Index begin, Index width, const double* mean, const double* m2) {
                for (Index i = 0; i < width; ++i) {
                  sums[begin + i] = m * mean[i];
                  sums[p.c + begin + i] = m2[i] + m * mean[i] * mean[i];
                }
              });
}

void forward_rest(const Context& ctx, const BatchNormProblem& p, Index rows, const double* sums,
                  const Stored* x, const float* gamma, const float* beta, const float* running_mean,
                  const float* running_var, float* next_mean, float* next_var, float* scratch,
                  float* saved_mean, float* saved_rstd, Stored* y) {
  const Scratch s(p, scratch);
  const double m = static_cast<double>(rows);
  const Statistics statistics{running_mean, running_var, next_mean,
                              next_var,     saved_mean,  saved_rstd};
  for (Index c = 0; c < p.c; ++c) {
    const double mean = sums[c] / m, around = sums[p.c + c] - sums[c] * mean;
    keep_moments(p, c, mean, around > 0 ? around : 0, m, statistics);
    scale_shift(gamma[c], beta[c], saved_mean[c], saved_rstd[c], s.scale + c, s.shift + c);
  }
  apply(ctx, p, s, x, y);
}

template <bool Store>
void reduce(const Context& ctx, const BatchNormProblem& p, const Scratch& s, const Stored* x,
            const Stored* dy, const float* mean, Stored* dx) {
  with_activation(p.activation, [&](auto act) {
    parallel_for(ctx.pool, batch_norm_chunks(p), [&](Index chunk, int) {
      const Rows rows(p, chunk);
      const Index at = rows.begin * p.c;
      reduce_rows<decltype(act)::value, Store>(x + at, dy + at, rows.count, s, mean,
                                               s.sum(chunk, 0), s.sum(chunk, 1),
                                               Store ? dx + at : nullptr);
    });
  });
}

// Calls body(c, sum_g, sum_gd) with every channel's sums over all chunks.
template <class Body>
DF_INLINE void for_channel_sums(const Context& ctx, const BatchNormProblem& p, const Scratch& s,
                                Body&& body) {
  for_channel_blocks(ctx, p.c, [&](Index begin, Index width) {
    double sum_g[kMergeChannels] = {}, sum_gd[kMergeChannels] = {};
    for (Index chunk = 0; chunk < batch_norm_chunks(p); ++chunk) {
      const float *g = s.sum(chunk, 0) + begin, *gd = s.sum(chunk, 1) + begin;
      for (Index i = 0; i < width; ++i) {
        sum_g[i] += g[i];
        sum_gd[i] += gd[i];
      }
    }
    for (Index i = 0; i < width; ++i) body(begin + i, sum_g[i], sum_gd[i]);
  });
}

// What a channel's sums over `rows` rows take from every row's gradient.
DF_INLINE void follow(const Scratch& s, Index c, double gamma, double rstd, double rows,
                      double sum_g, double sum_gd) {
  s.slope[c] = static_cast<float>(-gamma * rstd * rstd * rstd * sum_gd / rows);
  s.offset[c] = static_cast<float>(-gamma * rstd * sum_g / rows);
}

void data_gradient(const Context& ctx, const BatchNormProblem& p, const Scratch& s, const Stored* x,
                   const Stored* dy, const float* saved_mean, Stored* dx) {
  const bool stream = streams(p, dx);
  with_activation(p.activation, [&](auto act) {
    for_chunks_backwards(ctx, p, [&](Index chunk) {
      const Rows rows(p, chunk);
      const Index at = rows.begin * p.c;
      const auto apply = stream ? backward_rows<decltype(act)::value, true>
                                : backward_rows<decltype(act)::value, false>;
      apply(x + at, dy + at, rows.count, s, saved_mean, dx + at);
    });
  });
}

// Calls body(c, sum_g, sum_gd) for every channel, after writing the gradients of parameters.
template <class Body>
DF_INLINE void parameter_gradients(const Context& ctx, const BatchNormProblem& p, const Scratch& s,
                                   const Stored* x, const Stored* dy, const float* gamma,
                                   const float* beta, const float* saved_mean,
                                   const float* saved_rstd, float* dgamma, float* dbeta,
                                   Body&& body) {
  for (Index c = 0; c < p.c; ++c)
    scale_shift(gamma[c], beta[c], saved_mean[c], saved_rstd[c], s.scale + c, s.shift + c);
  reduce<false>(ctx, p, s, x, dy, saved_mean, nullptr);
  for_channel_sums(ctx, p, s, [&](Index c, double sum_g, double sum_gd) {
    dgamma[c] = static_cast<float>(sum_gd * saved_rstd[c]);
    dbeta[c] = static_cast<float>(sum_g);
    body(c, sum_g, sum_gd);
  });
}

void backward(const Context& ctx, const BatchNormProblem& p, const Stored* x, const Stored* dy,
              const float* gamma, const float* beta, const float* saved_mean,
              const float* saved_rstd, float* scratch, float* dgamma, float* dbeta, Stored* dx) {
  const Scratch s(p, scratch);
  parameter_gradients(ctx, p, s, x, dy, gamma, beta, saved_mean, saved_rstd, dgamma, dbeta,
                      [&](Index c, double sum_g, double sum_gd) {
                        follow(s, c, gamma[c], saved_rstd[c], static_cast<double>(p.m), sum_g,
                               sum_gd);
                      });
  if (dx != nullptr) data_gradient(ctx, p, s, x, dy, saved_mean, dx);
}

void backward_sums(const Context& ctx, const BatchNormProblem& p, const Stored* x, const Stored* dy,
                   const float* gamma, const float* beta, const float* saved_mean,
                   const float* saved_rstd, float* scratch, float* dgamma, float* dbeta,
                   double* sums) {
  parameter_gradients(ctx, p, Scratch(p, scratch), x, dy, gamma, beta, saved_mean, saved_rstd,
                      dgamma, dbeta, [&](Index c, double sum_g, double sum_gd) {
                        sums[c] = sum_g;
                        sums[p.c + c] = sum_gd;
                      });
}

void backward_rest(const Context& ctx, const BatchNormProblem& p, Index rows, const double* sums,
                   const Stored* x, const Stored* dy, const float* gamma, const float* beta,
                   const float* saved_mean, const float* saved_rstd, float* scratch, Stored* dx) {
  const Scratch s(p, scratch);
  for (Index c = 0; c < p.c; ++c) {
    scale_shift(gamma[c], beta[c], saved_mean[c], saved_rstd[c], s.scale + c, s.shift + c);
    follow(s, c, gamma[c], saved_rstd[c], static_cast<double>(rows), sums[c], sums[p.c + c]);
  }
  data_gradient(ctx, p, s, x, dy, saved_mean, dx);
}

DF_INLINE double frozen_rstd(double var, double eps) {
  return 1.0 / __builtin_sqrt(var + eps);
}

// It needs no scratch: every task works out the constants of some channels on its stack.
void frozen_forward(const Context& ctx, const BatchNormProblem& p, const Stored* x,
                    const float* gamma, const float* beta, const float* mean, const float* var,
                    Stored* y) {
  constexpr Index kChannels = 256, kRows = 256;
  const Index blocks = (p.c + kChannels - 1) / kChannels;
  const Index row_blocks = (p.m + kRows - 1) / kRows;
  const bool stream = streams(p, y);
  with_activation(p.activation, [&](auto act) {
    parallel_for(ctx.pool, blocks * row_blocks, [&](Index task, int) {
      const Index row = task / blocks * kRows, begin = task % blocks * kChannels;
      const Index rows = p.m - row < kRows ? p.m - row : kRows;
      const Index width = p.c - begin < kChannels ? p.c - begin : kChannels;
      float scale[kChannels], shift[kChannels];
      for (Index i = 0; i < width; ++i) {
        const Index c = begin + i;
        scale_shift(gamma[c], beta[c], mean[c], frozen_rstd(var[c], p.eps), scale + i, shift + i);
      }
      const Index at = row * p.c + begin;
      const auto apply =
          stream ? apply_rows<decltype(act)::value, true> : apply_rows<decltype(act)::value, false>;
      apply(x + at, rows, p.c, width, scale, shift, y + at);
    });
  });
}

void frozen_backward(const Context& ctx, const BatchNormProblem& p, const Stored* x,
                     const Stored* dy, const float* gamma, const float* beta, const float* mean,
                     const float* var, float* scratch, float* dgamma, float* dbeta, Stored* dx) {
  const Scratch s(p, scratch);
  for (Index c = 0; c < p.c; ++c)
    scale_shift(gamma[c], beta[c], mean[c], frozen_rstd(var[c], p.eps), s.scale + c, s.shift + c);
  if (dx == nullptr)
    reduce<false>(ctx, p, s, x, dy, mean, nullptr);
  else
    reduce<true>(ctx, p, s, x, dy, mean, dx);
  for_channel_sums(ctx, p, s, [&](Index c, double sum_g, double sum_gd) {
    dgamma[c] = static_cast<float>(sum_gd * frozen_rstd(var[c], p.eps));
    dbeta[c] = static_cast<float>(sum_g);
  });
}

}  // namespace

const BatchNormTable<Stored> batch_norm_table = {forward,        again,           backward,
                                                 frozen_forward, frozen_backward, forward_sums,
                                                 forward_rest,   backward_sums,   backward_rest};

}  // namespace dfengine::cpu::DF_ISA
