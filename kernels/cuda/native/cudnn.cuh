// The stem through cuDNN's graph interface.
#pragma once

#include <cudnn_backend.h>

#include "kernels/cuda/tuning/libraries.h"

namespace dfengine::cuda {

// Both open the library of the version that the headers have, and throw DeviceError.
using DnnHandle = std::shared_ptr<cudnnContext>;
DnnHandle open_dnn();
std::string dnn_version();

// What the heuristics of cuDNN propose and the device can run, the best guess first: "cudnn#0",
// "cudnn#1"... There is nothing where the padding differs between the two sides (tf_same at even
// sizes), which the engines do not promise.
std::vector<LibraryKernel> dnn_stem(const DnnHandle& handle, StorageType type,
                                    const StemProblem& p);

}  // namespace dfengine::cuda
