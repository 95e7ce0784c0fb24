// Batch normalisation over the rows of [M, C], with an optional ReLU or ReLU6 fused behind it.
// xhat = (x - mean) * rstd, rstd = 1 / sqrt(var + eps), y = act(gamma * xhat + beta)
// (Ioffe & Szegedy 2015). The activation's gradient is 1 strictly between its bounds and 0
// elsewhere, as in PyTorch, and is decided from the value recomputed from x.
//
// Batch form: mean and the biased variance come from the batch; the running statistics move by
// running = (1 - momentum) * running + momentum * batch, with the unbiased variance (PyTorch's
// rule). Frozen form: mean and var are the running statistics and get no gradient.
//
// Shapes       x, y, dx and dy [M, C], everything else [C].
// Aliasing     dx may be dy. y must not be x when a backward pass follows.
// Accuracy     Each chunk of rows is summed in two passes, and the chunks are merged in a fixed
//              order with Chan's formula, so that nothing cancels where |mean| is much larger than
//              the standard deviation.
// Determinism  The bits are the same in every run and for any number of threads.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/channel_moments.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/norm_gradient.h"

namespace dfengine {

struct BatchNormProblem {
  Index m = 0;  // rows: N * H * W
  Index c = 0;
  double eps = 1e-5;
  double momentum = 0.1;
  Activation activation = Activation::None;

  // Throws ShapeError unless sizes are positive.
  static BatchNormProblem make(Index m, Index c, double eps, double momentum, Activation act);
};

namespace cpu {

// The elements of scratch that batch_norm_forward and both backward functions need.
Index batch_norm_scratch(const BatchNormProblem& p);

// Forward with batch statistics; saves mean and rstd for backward. The moved running statistics go
// to next_mean and next_var, for the optimiser to commit when the step is applied.
// Throws ShapeError for m == 1: one value per channel has no variance.
template <class T>
void batch_norm_forward(const Context& ctx, const BatchNormProblem& p, const T* x,
                        const SumOf<T>* gamma, const SumOf<T>* beta, const SumOf<T>* running_mean,
                        const SumOf<T>* running_var, SumOf<T>* next_mean, SumOf<T>* next_var,
                        SumOf<T>* scratch, SumOf<T>* saved_mean, SumOf<T>* saved_rstd, T* y);

// y once more, to the same bits, from what forward saved.
template <class T>
void batch_norm_again(const Context& ctx, const BatchNormProblem& p, const T* x,
                      const SumOf<T>* gamma, const SumOf<T>* beta, const SumOf<T>* saved_mean,
                      const SumOf<T>* saved_rstd, SumOf<T>* scratch, T* y);

// Gradients through batch statistics. dgamma and dbeta are always written; dx may be null.
template <class T>
void batch_norm_backward(const Context& ctx, const BatchNormProblem& p, const T* x, const T* dy,
                         const SumOf<T>* gamma, const SumOf<T>* beta, const SumOf<T>* saved_mean,
                         const SumOf<T>* saved_rstd, SumOf<T>* scratch, SumOf<T>* dgamma,
                         SumOf<T>* dbeta, T* dx);

// The batch form for a slice of a batch: what it adds to sums [2, C] over the batch, and the rest
// when the sums of all its slices were added. rows: of the whole batch. Sums of x and of x^2, made
// of a mean and the squares around it; squares of means are taken away again in double.
template <class T>
void batch_norm_forward_sums(const Context& ctx, const BatchNormProblem& p, const T* x,
                             SumOf<T>* scratch, double* sums);
template <class T>
void batch_norm_forward_rest(const Context& ctx, const BatchNormProblem& p, Index rows,
                             const double* sums, const T* x, const SumOf<T>* gamma,
                             const SumOf<T>* beta, const SumOf<T>* running_mean,
                             const SumOf<T>* running_var, SumOf<T>* next_mean, SumOf<T>* next_var,
                             SumOf<T>* scratch, SumOf<T>* saved_mean, SumOf<T>* saved_rstd, T* y);
// dgamma and dbeta are the slice's part, and the sums those of g and of g * (x - mean).
template <class T>
void batch_norm_backward_sums(const Context& ctx, const BatchNormProblem& p, const T* x,
                              const T* dy, const SumOf<T>* gamma, const SumOf<T>* beta,
                              const SumOf<T>* saved_mean, const SumOf<T>* saved_rstd,
                              SumOf<T>* scratch, SumOf<T>* dgamma, SumOf<T>* dbeta, double* sums);
template <class T>
void batch_norm_backward_rest(const Context& ctx, const BatchNormProblem& p, Index rows,
                              const double* sums, const T* x, const T* dy, const SumOf<T>* gamma,
                              const SumOf<T>* beta, const SumOf<T>* saved_mean,
                              const SumOf<T>* saved_rstd, SumOf<T>* scratch, T* dx);

// Forward with frozen statistics.
template <class T>
void batch_norm_frozen_forward(const Context& ctx, const BatchNormProblem& p, const T* x,
                               const SumOf<T>* gamma, const SumOf<T>* beta, const SumOf<T>* mean,
                               const SumOf<T>* var, T* y);

// Gradients with frozen statistics. dgamma and dbeta are always written; dx may be null.
template <class T>
void batch_norm_frozen_backward(const Context& ctx, const BatchNormProblem& p, const T* x,
                                const T* dy, const SumOf<T>* gamma, const SumOf<T>* beta,
                                const SumOf<T>* mean, const SumOf<T>* var, SumOf<T>* scratch,
                                SumOf<T>* dgamma, SumOf<T>* dbeta, T* dx);

}  // namespace cpu

// On the device x, y, dx and dy are in T, which is Half, BFloat16 or float. Everything else is in
// float, and so are the sums. Throws ShapeError unless C is a multiple of 8 and pointers are
// aligned to 16 bytes.
namespace cuda {

// The floats of scratch that the batch forms and the frozen backward need.
Index batch_norm_scratch(const BatchNormProblem& p);

// Forward with batch statistics: saves mean and rstd for backward. The moved running statistics go
// to next_mean and next_var, for the optimiser to commit when the step is applied. With moments,
// which are those of x, x is not read for its statistics; scratch may then be null.
template <class T>
void batch_norm_forward(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                        const float* beta, const float* running_mean, const float* running_var,
                        float* next_mean, float* next_var, float* scratch, float* saved_mean,
                        float* saved_rstd, T* y, const ChannelMoments& moments = {});

// y once more, to the same bits, from what forward saved.
template <class T>
void batch_norm_again(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                      const float* beta, const float* saved_mean, const float* saved_rstd, T* y);

// Forward without y. Its readers compute y = act(x * scale + shift) as they load x
// (kernels/norm_on_load.h). on_load [3, C] is for them: scale, shift and mean. It may be null where
// nobody needs it.
template <class T>
void batch_norm_statistics(Stream stream, const BatchNormProblem& p, const T* x, const float* gamma,
                           const float* beta, const float* running_mean, const float* running_var,
                           float* next_mean, float* next_var, float* scratch, float* saved_mean,
                           float* saved_rstd, float* on_load, const ChannelMoments& moments = {});

// The batch form for a slice of a batch, as on the CPU. sums are on the device, and scratch is what
// batch_norm_scratch says.
template <class T>
void batch_norm_forward_sums(Stream stream, const BatchNormProblem& p, const T* x, float* scratch,
                             double* sums);
template <class T>
void batch_norm_forward_rest(Stream stream, const BatchNormProblem& p, Index rows,
                             const double* sums, const T* x, const float* gamma, const float* beta,
                             const float* running_mean, const float* running_var, float* next_mean,
                             float* next_var, float* saved_mean, float* saved_rstd, T* y);
// The same without y, as batch_norm_statistics.
void batch_norm_statistics_rest(Stream stream, const BatchNormProblem& p, Index rows,
                                const double* sums, const float* gamma, const float* beta,
                                const float* running_mean, const float* running_var,
                                float* next_mean, float* next_var, float* saved_mean,
                                float* saved_rstd, float* on_load);
template <class T>
void batch_norm_backward_sums(Stream stream, const BatchNormProblem& p, const T* x, const T* dy,
                              const float* gamma, const float* beta, const float* saved_mean,
                              const float* saved_rstd, float* scratch, float* dgamma, float* dbeta,
                              double* sums);
template <class T>
void batch_norm_backward_rest(Stream stream, const BatchNormProblem& p, Index rows,
                              const double* sums, const T* x, const T* dy, const float* gamma,
                              const float* beta, const float* saved_mean, const float* saved_rstd,
                              float* scratch, T* dx);

// dgamma and dbeta are always written; dx may be null.
template <class T>
void batch_norm_backward(Stream stream, const BatchNormProblem& p, const T* x, const T* dy,
                         const float* gamma, const float* beta, const float* saved_mean,
                         const float* saved_rstd, float* scratch, float* dgamma, float* dbeta,
                         T* dx);

// The gradients where a convolution has made g and its sums (kernels/norm_gradient.h). factors [3,
// C] are written: scale, slope and offset. dx may be g; it is null where the convolution that made
// x computes it on load.
template <class T>
void batch_norm_backward_given(Stream stream, const BatchNormProblem& p, const GradientSums& sums,
                               const T* x, const T* g, const float* gamma, const float* saved_mean,
                               const float* saved_rstd, float* factors, float* dgamma, float* dbeta,
                               T* dx);

template <class T>
void batch_norm_frozen_forward(Stream stream, const BatchNormProblem& p, const T* x,
                               const float* gamma, const float* beta, const float* mean,
                               const float* var, T* y);

// The same without y, as batch_norm_statistics.
void batch_norm_frozen_statistics(Stream stream, const BatchNormProblem& p, const float* gamma,
                                  const float* beta, const float* mean, const float* var,
                                  float* on_load);

template <class T>
void batch_norm_frozen_backward(Stream stream, const BatchNormProblem& p, const T* x, const T* dy,
                                const float* gamma, const float* beta, const float* mean,
                                const float* var, float* scratch, float* dgamma, float* dbeta,
                                T* dx);

}  // namespace cuda
}  // namespace dfengine
