// Which convolutions there are kernels for.
#include "engine/runtime/kernels.h"
#include "kernels/base/error.h"
#include "kernels/stem_conv.h"

namespace dfengine {

template <class Target>
Kernel Kernels<Target>::operator()(const Convolution& op) const {
  const Window& window = op.window;
  const ConvolutionQuery q{op, node, query, tuner};
  const bool loads = op.norm_on_load.has_value();
  if (query.backward && op.inference_form())
    throw UsageError("layer " + node.name + " (" + kind(op) + "): has no gradient");
  if (!loads || Target::kOnDevice) {
    if (op.groups == 1 && window.size == 1 && window.stride == 1) {
      if constexpr (Target::kOnDevice)
        return cuda_pointwise<T>(q);
      else
        return cpu_pointwise<T>(q);
    }
    if (op.groups == op.in && op.in == op.out && window.size == 3) {
      if constexpr (Target::kOnDevice)
        return cuda_depthwise<T>(q);
      else
        return cpu_depthwise<T>(q);
    }
    if (op.groups == 1 && op.in == StemProblem::kChannels && window.size == StemProblem::kWindow &&
        window.stride == StemProblem::kStride && !loads) {
      if constexpr (Target::kOnDevice)
        return cuda_stem<T>(q);
      else
        return cpu_stem<T>(q);
    }
  }
  throw UsageError("layer " + node.name + " (" + kind(op) + "): no kernel for a window of " +
                   std::to_string(window.size) + " with stride " + std::to_string(window.stride) +
                   ", " + std::to_string(op.in) + " to " + std::to_string(op.out) +
                   " channels in " + std::to_string(op.groups) + " groups");
}

#define DF_INSTANTIATE(Target) template Kernel Kernels<Target>::operator()(const Convolution&) const
DF_FOR_EACH_TARGET(DF_INSTANTIATE);
#undef DF_INSTANTIATE

}  // namespace dfengine
