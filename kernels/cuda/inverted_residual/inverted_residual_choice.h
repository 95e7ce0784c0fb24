// The choice among the tiles of an inverted residual block.
#pragma once

#include "kernels/cuda/tuning/choice.h"
#include "kernels/inverted_residual.h"

namespace dfengine::cuda {

class Tuner;

// The launch that is chosen, with the problem bound. weights: as packed. scratch: as many bytes as
// the choice says, aligned to 16 bytes.
template <class T>
using InvertedResidualLaunch = void(Stream, const void* x, const void* weights, void* scratch,
                                    T* y);

// Without a tuner it is the rule's. Throws ShapeError where there is no kernel for the problem
// (inverted_residual_configs).
template <class T>
Chosen<InvertedResidualLaunch<T>> choose_inverted_residual(Tuner* tuner,
                                                           const InvertedResidualProblem& p);

}  // namespace dfengine::cuda
