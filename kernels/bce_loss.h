// Binary cross-entropy with logits, each class with a weight, mean over the batch:
//   loss = mean_i( a softplus(z) - fake t z ), dz = (a sigmoid(z) - fake t) / N
// with a = real (1 - t) + fake t and softplus(z) = max(z, 0) + log(1 + exp(-|z|)).
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/step.h"

namespace dfengine {

// Of what the loss says of a picture that is real, or fake.
struct BceWeights {
  double real = 1, fake = 1;
  bool operator==(const BceWeights&) const = default;
};

namespace cpu {

// logits and targets [N], loss [1]. A target is 0 (real), 1 (fake) or between.
template <class T>
void bce_forward(const Context& ctx, Index n, const T* logits, const T* targets, T* loss,
                 const BceWeights& weights = {});

// dlogits [N] for d(loss) = scalars->loss_scale. whole: pictures of the batch of which these are a
// slice, 0: n.
template <class T>
void bce_backward(const Context& ctx, Index n, const T* logits, const T* targets,
                  const StepScalars* scalars, T* dlogits, const BceWeights& weights = {},
                  Index whole = 0);

// How many of the answers are right at probability 0.5. logits and targets [N].
template <class T>
Index count_right(Index n, const T* logits, const T* targets);

}  // namespace cpu

// On the device everything is in float. Throws ShapeError for an empty batch.
namespace cuda {

// logits and targets [N], loss [1]. One block adds in a fixed order.
void bce_forward(Stream stream, Index n, const float* logits, const float* targets, float* loss,
                 const BceWeights& weights = {});

// sums [2] = the sum of what the loss says of each picture, and how many are right at probability
// 0.5: of a slice of a batch.
void bce_sums(Stream stream, Index n, const float* logits, const float* targets, double* sums,
              const BceWeights& weights = {});

// dlogits [N] = the gradient of the loss times scalars->loss_scale. whole: as on the CPU.
void bce_backward(Stream stream, Index n, const float* logits, const float* targets,
                  const StepScalars* scalars, float* dlogits, const BceWeights& weights = {},
                  Index whole = 0);

}  // namespace cuda
}  // namespace dfengine
