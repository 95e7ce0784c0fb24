// The kernel of every operation, on the CPU and on CUDA devices. What only the two files
// of the pointwise convolution (cpu/, cuda/) treat differently aside, a kernel is the same call on
// another queue.
#pragma once

#include <type_traits>

#include "engine/plan/kernel.h"
#include "kernels/base/half.h"

namespace dfengine {

namespace cuda {
class Tuner;
}

// What a kernel computes in. Value: activations. Sum: parameters, statistics, sums, and everything
// behind the pool.
template <class T>
struct OnCpu {
  using Value = T;
  using Sum = SumOf<T>;
  static constexpr bool kOnDevice = false;
  static cpu::Context queue(const StepContext& ctx) { return ctx.queue.cpu(); }
};
template <class T>
struct OnCuda {
  using Value = T;
  using Sum = float;
  static constexpr bool kOnDevice = true;
  static cuda::Stream queue(const StepContext& ctx) { return ctx.queue.stream; }
};

// Visits an operation; one that is missing here does not compile.
template <class Target>
struct Kernels {
  using T = typename Target::Value;
  using Sum = typename Target::Sum;

  const Node& node;
  const KernelQuery& query;
  cuda::Tuner* tuner = nullptr;  // of a device; null: kernels are chosen by the rule

  Kernel operator()(const ImageNormalize& op) const;
  Kernel operator()(const Convolution& op) const;
  Kernel operator()(const QuantizedConvolution& op) const;
  Kernel operator()(const InvertedResidual& op) const;
  Kernel operator()(const BatchNorm& op) const;
  Kernel operator()(const ExpandDepthwise& op) const;
  Kernel operator()(const Activate& op) const;
  Kernel operator()(const Add& op) const;
  Kernel operator()(const Dropout& op) const;
  Kernel operator()(const GlobalAveragePool& op) const;
  Kernel operator()(const Dense& op) const;
  Kernel operator()(const BceLoss& op) const;

 private:
  // What stands behind the pool is in float or double; else UsageError naming the layer.
  void require_sum() const;
};

// Whether devices have a kernel for the block with this input; by rule only where it pays.
bool has_block_kernel(const InvertedResidual& op, const Spec& in, bool by_rule);

// Whether devices have a kernel for the wide half of a block with this input. With a tuner it has
// been compared on the device with the kernels of the three layers.
bool has_expand_depthwise_kernel(const ExpandDepthwise& op, const Spec& in, cuda::Tuner* tuner);

// Whether devices have a kernel for the convolution that takes pixels and computes in the element.
bool has_pixels_kernel(const Convolution& op, Element element);

// Whether devices have a kernel for the convolution that makes the moments of its result, one that
// makes its gradient's sums, and one that takes the last step of the gradient behind it.
bool has_moments_kernel(const Convolution& op, const Spec& in);
bool has_gradient_sums_kernel(const Convolution& op, const Spec& in);
bool has_gradient_on_load_kernel(const Convolution& op, const Spec& in);

#define DF_FOR_EACH_TARGET(instantiate) \
  instantiate(OnCpu<float>);            \
  instantiate(OnCpu<double>);           \
  instantiate(OnCpu<BFloat16>);         \
  instantiate(OnCuda<Half>);            \
  instantiate(OnCuda<BFloat16>);        \
  instantiate(OnCuda<float>)

}  // namespace dfengine
