// The stem of a plan: the choice between the own kernel and cuDNN for its forward pass, and the
// launcher that does as chosen.
#pragma once

#include "kernels/cuda/tuning/choice.h"
#include "kernels/stem_conv.h"

namespace dfengine::cuda {

class Tuner;

// Null tuner: the own kernel.
template <class T>
ChoicePtr choose_stem_forward(Tuner* tuner, const StemProblem& p, const EpilogueForm& form);

// The launcher of kernels/stem_conv.h, as chosen; null: the own kernel. scratch:
// choice->kernel.scratch bytes.
template <class T>
void stem_forward(Stream stream, const Choice* choice, const StemProblem& p, const T* x, const T* w,
                  const Epilogue<T, float>& epilogue, void* scratch, T* y);

}  // namespace dfengine::cuda
