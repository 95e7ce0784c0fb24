// What the kernels of convolutions share: how they find their weights, bias and batch norm.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "engine/runtime/folding.h"
#include "engine/runtime/kernels.h"
#include "kernels/base/error.h"
#include "kernels/base/stored.h"
#include "kernels/cuda/tuning/choice.h"
#include "kernels/depthwise_conv.h"
#include "kernels/epilogue.h"
#include "kernels/norm_gradient.h"
#include "kernels/norm_on_load.h"
#include "kernels/pixel_input.h"
#include "kernels/stem_conv.h"

namespace dfengine {

// ---- The kinds that there are kernels for ----

inline bool is_pointwise(const Convolution& op) {
  return op.groups == 1 && op.window.size == 1 && op.window.stride == 1;
}
inline bool is_depthwise(const Convolution& op) {
  return op.groups == op.in && op.in == op.out && op.window.size == DepthwiseProblem::kWindow;
}
inline bool is_stem(const Convolution& op) {
  return op.groups == 1 && op.in == StemProblem::kChannels &&
         op.window.size == StemProblem::kWindow && op.window.stride <= 2;
}

struct ConvolutionQuery {
  const Convolution& op;
  const Node& node;
  const KernelQuery& query;
  cuda::Tuner* tuner;
};
template <class T>
Kernel cpu_pointwise(const ConvolutionQuery& q);
template <class T>
Kernel cuda_pointwise(const ConvolutionQuery& q);

// ---- Weights that lie as the parameter does: all but those of the CPU's pointwise kernels.
// Prepared, in inference form: weights in their element, then the bias in that of sums ----

// On the CPU weights are in float where activations are in bf16.
template <class Target>
using WeightOf =
    std::conditional_t<Target::kOnDevice, typename Target::Value, typename Target::Sum>;

template <class T>
Index bias_offset(const Convolution& op) {
  constexpr Index kVectorBytes = 16;  // of what kernels load in vectors
  return round_up(op.weight_count() * Index{sizeof(T)}, kVectorBytes);
}

// The weight as T stores it. Throws ModelFileError where it is too large for halves.
template <class T, class Sum>
T fitting(Sum value, const std::string& layer) {
  const T result = stored<T>(value);
  if (std::is_same_v<T, Half> && !std::isfinite(value_of(result)))
    throw ModelFileError("layer " + layer + ": the folded weight " + std::to_string(value) +
                         " does not fit fp16; use precision bf16 or fp32");
  return result;
}

template <class Target>
void book_prepared(const ConvolutionQuery& q, Kernel& k) {
  using T = WeightOf<Target>;
  using Sum = typename Target::Sum;
  k.needs.prepared = bias_offset<T>(q.op) + q.op.out * Index{sizeof(Sum)};
  k.prepare = [op = q.op, name = q.node.name](std::span<const ConstPlace> params, Place prepared) {
    const FoldedWeights<Sum> folded = fold<Sum>(op, params);
    T* w = prepared.as<T>();
    for (Sum value : folded.weights) *w++ = fitting<T>(value, name);
    // Empty where nothing is folded.
    const Place bias{prepared.as<std::byte>() + bias_offset<T>(op)};
    std::ranges::copy(folded.bias, bias.as<Sum>());
  };
}

// In training those of the working copy.
template <class T>
const T* weights(const ForwardIo& io) {
  return (io.prepared ? io.prepared : io.working[0]).template as<T>();
}

// bias: where the prepared one begins, in bytes.
template <class T, class Sum>
Epilogue<T, Sum> epilogue(const Convolution& op, Index bias, const ForwardIo& io) {
  Epilogue<T, Sum> e;
  if (op.norm) e.bias = ConstPlace{io.prepared.as<std::byte>() + bias}.as<Sum>();
  e.activation = op.activation;
  if (op.residual) e.residual = io.x[1].as<T>();
  return e;
}

// Of a stem that takes pixels.
inline PixelAffine pixel_affine(const Convolution& op) {
  return PixelAffine::of(op.normalize->mean.data(), op.normalize->std_dev.data());
}
inline PixelInput pixel_input(const Convolution& op, const Shape& pixels) {
  return {.stem = StemProblem::make(pixels, op.out, op.window.padding, op.window.stride),
          .affine = pixel_affine(op)};
}

// ---- Devices ----

inline cuda::EpilogueForm form(const Convolution& op) {
  return {.bias = op.norm.has_value(), .activation = op.activation, .residual = op.residual};
}

// The batch norm that x[0] has still to go through: scale, shift and mean are the second input.
inline NormOnLoad norm(const Convolution& op, ConstPlace second) {
  if (!op.norm_on_load) return {};
  const auto* scale = second.as<float>();
  return {.scale = scale,
          .shift = scale + op.in,
          .activation = *op.norm_on_load,
          .mean = scale + 2 * op.in};
}

// The last step of y's batch norm that dy has still to take, where there is one.
inline GradientOnLoad gradient_on_load(const Convolution& op, const BackwardIo& io) {
  return {.factors = op.gradient_on_load ? io.gradient_factors.as<float>() : nullptr};
}

// The input that gets the data gradient.
inline std::size_t gradient_input(const Convolution& op) {
  return op.norm_on_load ? 1 : 0;
}

// What the plan says of a choice.
inline void tell(const cuda::Choice& choice, std::string& name, Kernel& k) {
  name = cuda::describe(choice);
  k.names.left_out.insert(k.names.left_out.end(), choice.left_out.begin(), choice.left_out.end());
}

}  // namespace dfengine
