// Binary cross-entropy with logits, mean over the batch:
// loss = mean_i( max(z,0) - z t + log(1 + exp(-|z|)) ), dz = (sigmoid(z) - t) / N.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/step.h"

namespace dfengine {
namespace cpu {

// logits and targets [N], loss [1]. A target is 0 (real) or 1 (fake).
template <class T>
void bce_forward(const Context& ctx, Index n, const T* logits, const T* targets, T* loss);

// dlogits [N] for d(loss) = scalars->loss_scale.
template <class T>
void bce_backward(const Context& ctx, Index n, const T* logits, const T* targets,
                  const StepScalars* scalars, T* dlogits);

}  // namespace cpu

// On the device everything is in float. Throws ShapeError for an empty batch.
namespace cuda {

// logits and targets [N], loss [1]. One block adds in a fixed order.
void bce_forward(Stream stream, Index n, const float* logits, const float* targets, float* loss);

// dlogits [N] = the gradient of the loss times scalars->loss_scale.
void bce_backward(Stream stream, Index n, const float* logits, const float* targets,
                  const StepScalars* scalars, float* dlogits);

}  // namespace cuda
}  // namespace dfengine
