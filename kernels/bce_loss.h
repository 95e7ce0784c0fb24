// Binary cross-entropy with logits, mean over the batch:
// loss = mean_i( max(z,0) - z t + log(1 + exp(-|z|)) ), dz = (sigmoid(z) - t) / N.
#pragma once

#include "kernels/cpu/context.h"
#include "kernels/shape.h"

namespace dfengine::cpu {

// logits and targets [N] (targets 0 or 1, positive = fake); loss [1].
template <class T>
void bce_forward(const Context& ctx, Index n, const T* logits, const T* targets, T* loss);

// dlogits [N] for d(loss) = 1.
template <class T>
void bce_backward(const Context& ctx, Index n, const T* logits, const T* targets, T* dlogits);

}  // namespace dfengine::cpu
