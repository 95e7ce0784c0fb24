// The three convolutions on a CUDA device.
#include "layers/convolution.h"

#include <cmath>
#include <cstring>

#include "kernels/depthwise_conv.h"
#include "kernels/pointwise_conv.h"
#include "kernels/stem_conv.h"
#include "layers/depthwise_conv.h"
#include "layers/pointwise_conv.h"
#include "layers/stem_conv.h"

namespace dfengine {
namespace {

constexpr Index kAlignment = 16;  // of what kernels load in vectors

Index aligned(Index bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

Index Convolution::device_bias_offset(Element element) const {
  return aligned(weight_.count() * element_size(element));
}

LayerPlan Convolution::device_plan_for(const PlanQuery& query, Index weight_scratch) const {
  LayerPlan plan;
  if (!query.backward) {
    plan.prepared =
        device_bias_offset(query.out.element) + channels_out() * static_cast<Index>(sizeof(float));
    return plan;
  }
  plan.backward_needs_input = true;
  plan.backward_scratch = weight_scratch * static_cast<Index>(sizeof(float));
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
  std::memcpy(static_cast<std::byte*>(prepared) + device_bias_offset(element), folded.bias.data(),
              folded.bias.size() * sizeof(float));
}

// ---- Pointwise ----------------------------------------------------------------------------------

LayerPlan PointwiseConv::device_plan(const PlanQuery& query) const {
  const auto p = PointwiseProblem::make(query.out.shape.rows(), c_, k_);
  LayerPlan plan = device_plan_for(query, cuda::pointwise_weight_scratch(p));
  if (!query.backward && fusion().residual) plan.overwrites_input = 1;
  return plan;
}

void PointwiseConv::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  const auto p = PointwiseProblem::make(io.out.shape.rows(), c_, k_);
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cuda::pointwise_forward<T>(ctx.stream, p, static_cast<const T*>(io.x[0]),
                               static_cast<const T*>(device_weights(io)), device_epilogue<T>(io),
                               static_cast<T*>(io.y), io.norm);
  });
}

void PointwiseConv::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  const auto p = PointwiseProblem::make(io.out.shape.rows(), c_, k_);
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const auto* dy = static_cast<const T*>(io.dy);
    if (io.dparams[0] != nullptr)
      cuda::pointwise_backward_weight<T>(ctx.stream, p, static_cast<const T*>(io.x[0]), dy,
                                         static_cast<float*>(io.scratch),
                                         static_cast<float*>(io.dparams[0]), io.norm);
    if (io.dx[0] != nullptr)
      cuda::pointwise_backward_data<T>(ctx.stream, p, dy, static_cast<const T*>(device_weights(io)),
                                       io.dx_write[0], static_cast<T*>(io.dx[0]));
  });
}

// ---- Depthwise ----------------------------------------------------------------------------------

LayerPlan DepthwiseConv::device_plan(const PlanQuery& query) const {
  const auto p = DepthwiseProblem::make(query.in[0].shape, stride_, padding_);
  return device_plan_for(query, cuda::depthwise_weight_scratch(p));
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
  return device_plan_for(query, cuda::stem_weight_scratch(p));
}

void StemConv::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  const auto p = StemProblem::make(io.in[0].shape, k_, padding_);
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cuda::stem_forward<T>(ctx.stream, p, static_cast<const T*>(io.x[0]),
                          static_cast<const T*>(device_weights(io)), device_epilogue<T>(io),
                          static_cast<T*>(io.y));
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
