// The three convolutions on a CUDA device.
#include "layers/convolution.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/pointwise/pointwise_choice.h"
#include "kernels/cuda/stem/stem_choice.h"
#include "kernels/depthwise_conv.h"
#include "kernels/pointwise_conv.h"
#include "kernels/stem_conv.h"
#include "layers/depthwise_conv.h"
#include "layers/pointwise_conv.h"
#include "layers/stem_conv.h"

namespace dfengine {
namespace {

constexpr Index kAlignment = 16;  // of what kernels load in vectors

// A choice as plans keep it, and its launch again.
template <class Launch>
std::shared_ptr<const cuda::Choice> kept(cuda::Chosen<Launch> chosen) {
  return std::make_shared<const cuda::Chosen<Launch>>(std::move(chosen));
}
template <class Launch>
const std::function<Launch>& launch_of(const std::shared_ptr<const cuda::Choice>& choice) {
  return static_cast<const cuda::Chosen<Launch>&>(*choice).launch;
}

}  // namespace

Index Convolution::device_bias_offset(Element element) const {
  return round_up(weight_.count() * element_size(element), kAlignment);
}

LayerPlan Convolution::device_plan_for(const PlanQuery& query, Index backward_scratch) const {
  LayerPlan plan;
  if (!query.backward) {
    plan.prepared =
        device_bias_offset(query.out.element) + channels_out() * static_cast<Index>(sizeof(float));
    return plan;
  }
  plan.backward_needs_input = true;
  plan.backward_scratch = backward_scratch;
  return plan;
}

void Convolution::device_prepare(Element element, std::span<void* const> params,
                                 void* prepared) const {
  const Folded<float> folded = fold<float>(params);
  with_device_element(element, [&](auto t) {
    using T = decltype(t);
    auto* w = static_cast<T*>(prepared);
    for (std::size_t i = 0; i < folded.weights.size(); ++i) {
      if constexpr (std::is_same_v<T, Half>) {
        w[i] = {float_to_f16(folded.weights[i])};
        if (!std::isfinite(f16_to_float(w[i].bits)))
          throw ModelFileError("layer " + name() + ": the folded weight " +
                               std::to_string(folded.weights[i]) +
                               " does not fit fp16; use --precision bf16 or fp32");
      } else if constexpr (std::is_same_v<T, BFloat16>) {
        w[i] = {float_to_bf16(folded.weights[i])};
      } else {
        w[i] = folded.weights[i];
      }
    }
  });
  // Empty where nothing is folded.
  auto* bias = static_cast<std::byte*>(prepared) + device_bias_offset(element);
  std::ranges::copy(folded.bias, reinterpret_cast<float*>(bias));
}

// ---- Pointwise ----------------------------------------------------------------------------------

LayerPlan PointwiseConv::device_plan(const PlanQuery& query) const {
  const auto p = PointwiseProblem::make(query.out.shape.rows(), c_, k_);
  KernelChoices choices;
  Index backward_scratch = 0;
  with_device_element(query.out.element, [&](auto t) {
    using T = decltype(t);
    choices.forward = kept(
        cuda::choose_pointwise_forward<T>(query.tuner, p, epilogue_form(), query.norm_on_load));
    if (!query.backward) return;
    choices.data_gradient = kept(cuda::choose_pointwise_backward_data<T>(query.tuner, p));
    choices.weight_gradient =
        kept(cuda::choose_pointwise_backward_weight<T>(query.tuner, p, query.norm_on_load));
    // The two gradients take turns in it.
    backward_scratch = std::max(choices.data_gradient->scratch, choices.weight_gradient->scratch);
  });
  LayerPlan plan = device_plan_for(query, backward_scratch);
  plan.forward_scratch = choices.forward->scratch;
  plan.choices = std::move(choices);
  if (!query.backward && fusion().residual) plan.overwrites_input = 1;
  return plan;
}

void PointwiseConv::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    launch_of<cuda::PointwiseForwardLaunch<T>>(io.choices.forward)(
        ctx.stream, static_cast<const T*>(io.x[0]), static_cast<const T*>(device_weights(io)),
        device_epilogue<T>(io), io.norm, io.scratch, static_cast<T*>(io.y));
  });
}

void PointwiseConv::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const auto* dy = static_cast<const T*>(io.dy);
    if (io.dparams[0] != nullptr)
      launch_of<cuda::PointwiseBackwardWeightLaunch<T>>(io.choices.weight_gradient)(
          ctx.stream, static_cast<const T*>(io.x[0]), dy, io.norm, io.scratch,
          static_cast<float*>(io.dparams[0]));
    if (io.dx[0] != nullptr)
      launch_of<cuda::PointwiseBackwardDataLaunch<T>>(io.choices.data_gradient)(
          ctx.stream, dy, static_cast<const T*>(device_weights(io)), io.dx_write[0], io.scratch,
          static_cast<T*>(io.dx[0]));
  });
}

// ---- Depthwise ----------------------------------------------------------------------------------

LayerPlan DepthwiseConv::device_plan(const PlanQuery& query) const {
  const auto p = DepthwiseProblem::make(query.in[0].shape, stride_, padding_);
  return device_plan_for(query, cuda::depthwise_weight_scratch(p) * kFloatBytes);
}

void DepthwiseConv::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  const auto p = DepthwiseProblem::make(io.in[0].shape, stride_, padding_);
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cuda::depthwise_forward<T>(ctx.stream, p, static_cast<const T*>(io.x[0]),
                               static_cast<const T*>(device_weights(io)), device_epilogue<T>(io),
                               static_cast<T*>(io.y), io.norm);
  });
}

void DepthwiseConv::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  const auto p = DepthwiseProblem::make(io.in[0].shape, stride_, padding_);
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const auto* dy = static_cast<const T*>(io.dy);
    if (io.dparams[0] != nullptr)
      cuda::depthwise_backward_weight<T>(ctx.stream, p, static_cast<const T*>(io.x[0]), dy,
                                         static_cast<float*>(io.scratch),
                                         static_cast<float*>(io.dparams[0]), io.norm);
    if (io.dx[0] != nullptr)
      cuda::depthwise_backward_data<T>(ctx.stream, p, dy, static_cast<const T*>(device_weights(io)),
                                       io.dx_write[0], static_cast<T*>(io.dx[0]));
  });
}

// ---- Stem ---------------------------------------------------------------------------------------

LayerPlan StemConv::device_plan(const PlanQuery& query) const {
  const auto p = StemProblem::make(query.in[0].shape, k_, padding_);
  LayerPlan plan = device_plan_for(query, cuda::stem_weight_scratch(p) * kFloatBytes);
  with_device_element(query.out.element, [&](auto t) {
    plan.choices.forward =
        kept(cuda::choose_stem_forward<decltype(t)>(query.tuner, p, epilogue_form()));
  });
  plan.forward_scratch = plan.choices.forward->scratch;
  return plan;
}

void StemConv::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    launch_of<cuda::StemForwardLaunch<T>>(io.choices.forward)(
        ctx.stream, static_cast<const T*>(io.x[0]), static_cast<const T*>(device_weights(io)),
        device_epilogue<T>(io), io.scratch, static_cast<T*>(io.y));
  });
}

void StemConv::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  if (io.dx[0] != nullptr) throw Error("layer " + name() + " (stem) has no data gradient");
  if (io.dparams[0] == nullptr) return;
  const auto p = StemProblem::make(io.in[0].shape, k_, padding_);
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cuda::stem_backward_weight<T>(ctx.stream, p, static_cast<const T*>(io.x[0]),
                                  static_cast<const T*>(io.dy), static_cast<float*>(io.scratch),
                                  static_cast<float*>(io.dparams[0]));
  });
}

}  // namespace dfengine
