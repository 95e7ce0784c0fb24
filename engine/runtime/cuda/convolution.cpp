// The three convolutions on a CUDA device. Prepared, in inference form: weights in the element, as
// they lie in the parameter block, then the bias in float.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "engine/runtime/folding.h"
#include "engine/runtime/kernels.h"
#include "kernels/base/error.h"
#include "kernels/cuda/pointwise/pointwise_choice.h"
#include "kernels/cuda/stem/stem_choice.h"
#include "kernels/depthwise_conv.h"
#include "kernels/pointwise_conv.h"
#include "kernels/stem_conv.h"

namespace dfengine {
namespace {

// Of what kernels load in vectors.
constexpr Index kVectorBytes = 16;

Index weight_count(const Convolution& op) {
  return op.out * (op.in / op.groups) * op.window.size * op.window.size;
}

template <class T>
Index bias_offset(const Convolution& op) {
  return round_up(weight_count(op) * Index{sizeof(T)}, kVectorBytes);
}

template <class T>
T stored(float value, const std::string& layer) {
  if constexpr (std::is_same_v<T, Half>) {
    const Half half{float_to_f16(value)};
    if (!std::isfinite(f16_to_float(half.bits)))
      throw ModelFileError("layer " + layer + ": the folded weight " + std::to_string(value) +
                           " does not fit fp16; use --precision bf16 or fp32");
    return half;
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return {float_to_bf16(value)};
  } else {
    return value;
  }
}

// Of inference; in training the weights are those of the working copy.
template <class T>
void book_prepared(const Node& node, const Convolution& op, Kernel& k) {
  k.needs.prepared = bias_offset<T>(op) + op.out * kFloatBytes;
  k.prepare = [op, name = node.name](std::span<const ConstPlace> params, Place prepared) {
    const FoldedWeights<float> folded = fold<float>(op, params);
    T* w = prepared.as<T>();
    for (float value : folded.weights) *w++ = stored<T>(value, name);
    // Empty where nothing is folded.
    const Place bias{prepared.as<std::byte>() + bias_offset<T>(op)};
    std::ranges::copy(folded.bias, bias.as<float>());
  };
}

template <class T>
const T* weights(const ForwardIo& io) {
  return (io.prepared ? io.prepared : io.working[0]).template as<T>();
}

template <class T>
Epilogue<T, float> epilogue(const Convolution& op, const ForwardIo& io) {
  Epilogue<T, float> e;
  if (op.norm) e.bias = ConstPlace{io.prepared.as<std::byte>() + bias_offset<T>(op)}.as<float>();
  e.activation = op.activation;
  if (op.residual) e.residual = io.x[1].as<T>();
  return e;
}

cuda::EpilogueForm form(const Convolution& op) {
  return {.bias = op.norm.has_value(), .activation = op.activation, .residual = op.residual};
}

// The batch norm that x[0] has still to go through: scale and shift are the second input.
NormOnLoad norm(const Convolution& op, ConstPlace second) {
  if (!op.norm_on_load) return {};
  const auto* scale = second.as<float>();
  return {.scale = scale, .shift = scale + op.in, .activation = *op.norm_on_load};
}

// The input that gets the data gradient.
std::size_t gradient_input(const Convolution& op) {
  return op.norm_on_load ? 1 : 0;
}

// What the plan says of a choice.
void tell(const cuda::Choice& choice, std::string& name, Kernel& k) {
  name = cuda::describe(choice);
  k.names.left_out.insert(k.names.left_out.end(), choice.left_out.begin(), choice.left_out.end());
}

}  // namespace

template <class T>
Kernel cuda_pointwise(const ConvolutionQuery& q) {
  const Convolution& op = q.op;
  const KernelQuery& query = q.query;
  const auto p = PointwiseProblem::make(query.out.shape.rows(), op.in, op.out);
  const bool loads = op.norm_on_load.has_value();
  const auto forward = cuda::choose_pointwise_forward<T>(q.tuner, p, form(op), loads);
  Kernel k;
  tell(forward, k.names.forward, k);
  if (!query.backward) book_prepared<T>(q.node, op, k);
  if (!query.backward && op.residual) k.needs.overwrites_input = 1;
  k.needs.forward_scratch = forward.scratch;
  k.forward = [op, launch = forward.launch](const StepContext& ctx, const ForwardIo& io) {
    launch(ctx.queue.stream, io.x[0].as<T>(), weights<T>(io), epilogue<T>(op, io),
           norm(op, io.x[1]), io.scratch.address, io.y.as<T>());
  };
  if (!query.backward) return k;

  const auto data = cuda::choose_pointwise_backward_data<T>(q.tuner, p);
  const auto weight = cuda::choose_pointwise_backward_weight<T>(q.tuner, p, loads);
  tell(data, k.names.data_gradient, k);
  tell(weight, k.names.weight_gradient, k);
  k.needs.backward_needs_input = true;
  k.needs.backward_scratch = std::max(data.scratch, weight.scratch);  // they take turns in it
  k.backward = [op, to_data = data.launch, to_weight = weight.launch](const StepContext& ctx,
                                                                      const BackwardIo& io) {
    const T* dy = io.dy.as<T>();
    const std::size_t to = gradient_input(op);
    if (io.dparams[0])
      to_weight(ctx.queue.stream, io.x[0].as<T>(), dy, norm(op, io.x[1]), io.scratch.address,
                io.dparams[0].as<float>());
    if (io.dx[to])
      to_data(ctx.queue.stream, dy, io.working[0].as<T>(), io.dx_write[to], io.scratch.address,
              io.dx[to].as<T>());
  };
  return k;
}

template <class T>
Kernel cuda_depthwise(const ConvolutionQuery& q) {
  const Convolution& op = q.op;
  const KernelQuery& query = q.query;
  const auto p = DepthwiseProblem::make(query.in[0].shape, op.window.stride, op.window.padding);
  Kernel k;
  if (query.backward) {
    k.needs = {.backward_scratch = cuda::depthwise_weight_scratch(p) * kFloatBytes,
               .backward_needs_input = true};
  } else {
    book_prepared<T>(q.node, op, k);
  }
  k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
    cuda::depthwise_forward<T>(ctx.queue.stream, p, io.x[0].as<T>(), weights<T>(io),
                               epilogue<T>(op, io), io.y.as<T>(), norm(op, io.x[1]));
  };
  k.backward = [=](const StepContext& ctx, const BackwardIo& io) {
    const T* dy = io.dy.as<T>();
    const std::size_t to = gradient_input(op);
    if (io.dparams[0])
      cuda::depthwise_backward_weight<T>(ctx.queue.stream, p, io.x[0].as<T>(), dy,
                                         io.scratch.as<float>(), io.dparams[0].as<float>(),
                                         norm(op, io.x[1]));
    if (io.dx[to])
      cuda::depthwise_backward_data<T>(ctx.queue.stream, p, dy, io.working[0].as<T>(),
                                       io.dx_write[to], io.dx[to].as<T>());
  };
  return k;
}

template <class T>
Kernel cuda_stem(const ConvolutionQuery& q) {
  const Convolution& op = q.op;
  const KernelQuery& query = q.query;
  const auto p = StemProblem::make(query.in[0].shape, op.out, op.window.padding);
  const auto forward = cuda::choose_stem_forward<T>(q.tuner, p, form(op));
  Kernel k;
  tell(forward, k.names.forward, k);
  if (query.backward) {
    k.needs = {.backward_scratch = cuda::stem_weight_scratch(p) * kFloatBytes,
               .backward_needs_input = true};
  } else {
    book_prepared<T>(q.node, op, k);
  }
  k.needs.forward_scratch = forward.scratch;
  k.forward = [op, launch = forward.launch](const StepContext& ctx, const ForwardIo& io) {
    launch(ctx.queue.stream, io.x[0].as<T>(), weights<T>(io), epilogue<T>(op, io),
           io.scratch.address, io.y.as<T>());
  };
  k.backward = [p, name = q.node.name](const StepContext& ctx, const BackwardIo& io) {
    if (io.dx[0]) throw Error("layer " + name + " (stem) has no data gradient");
    if (io.dparams[0])
      cuda::stem_backward_weight<T>(ctx.queue.stream, p, io.x[0].as<T>(), io.dy.as<T>(),
                                    io.scratch.as<float>(), io.dparams[0].as<float>());
  };
  return k;
}

#define DF_INSTANTIATE(T)                                     \
  template Kernel cuda_pointwise<T>(const ConvolutionQuery&); \
  template Kernel cuda_depthwise<T>(const ConvolutionQuery&); \
  template Kernel cuda_stem<T>(const ConvolutionQuery&)
DF_INSTANTIATE(Half);
DF_INSTANTIATE(BFloat16);
DF_INSTANTIATE(float);
#undef DF_INSTANTIATE

}  // namespace dfengine
