// The choice between the own kernel and, where it is asked for (Libraries::stem), cuDNN for the
// stem's forward pass.
#pragma once

#include "kernels/cuda/tuning/choice.h"
#include "kernels/stem_conv.h"

namespace dfengine::cuda {

class Tuner;

// The launch that is chosen, with the problem bound. scratch: as many bytes as the choice says.
template <class T>
using StemForwardLaunch = void(Stream, const T* x, const T* w, const Epilogue<T, float>& epilogue,
                               void* scratch, T* y);

// Without a tuner, for float and with an epilogue it is the own kernel, "own". form: the epilogue
// of the launches.
template <class T>
Chosen<StemForwardLaunch<T>> choose_stem_forward(Tuner* tuner, const StemProblem& p,
                                                 const EpilogueForm& form);

}  // namespace dfengine::cuda
