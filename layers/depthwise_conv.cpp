#include "layers/depthwise_conv.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/depthwise_conv.h"

namespace dfengine {

DepthwiseConv::DepthwiseConv(std::string name, std::string weight_name, Index c, Index stride,
                             Padding padding, ConvFusion fusion)
    : Convolution(std::move(name),
                  {weight_name, {c, 1, 3, 3}, Layout::DepthwiseRSC, Role::Weight, {0.0, 9}},
                  std::move(fusion)),
      weight_name_(std::move(weight_name)),
      c_(c),
      stride_(stride),
      padding_(padding) {}

LayerPtr DepthwiseConv::with_fusion(ConvFusion fusion) const {
  return std::make_shared<DepthwiseConv>(name(), weight_name_, c_, stride_, padding_,
                                         std::move(fusion));
}

Spec DepthwiseConv::infer(std::span<const Spec> in) const {
  expect_inputs(in, input_count());
  if (in[0].shape.c != c_)
    fail_shape(fmt::format("takes {} channels, input is {}", c_, to_string(in[0].shape)));
  const Spec out{DepthwiseProblem::make(in[0].shape, stride_, padding_).output(), in[0].element};
  expect_residual(in, out);
  return out;
}

void DepthwiseConv::pack(const float* w, float* packed) const {
  std::copy_n(w, 9 * c_, packed);
}

void DepthwiseConv::pack(const double* w, double* packed) const {
  std::copy_n(w, 9 * c_, packed);
}

LayerPlan DepthwiseConv::plan(const PlanQuery& query) const {
  LayerPlan plan;
  if (!query.backward) {
    plan.prepared = prepared_bytes(query.out.element);
    return plan;
  }
  const auto p = DepthwiseProblem::make(query.in[0].shape, stride_, padding_);
  plan.backward_needs_input = true;
  plan.backward_scratch = cpu::depthwise_weight_scratch(p) * element_size(query.out.element);
  return plan;
}

void DepthwiseConv::forward(const LayerContext& ctx, const LayerIo& io) const {
  const auto p = DepthwiseProblem::make(io.in[0].shape, stride_, padding_);
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const void* w = io.prepared != nullptr ? io.prepared : io.params[0];
    cpu::depthwise_forward(ctx.cpu, p, static_cast<const T*>(io.x[0]), static_cast<const T*>(w),
                           epilogue<T>(io), static_cast<T*>(io.y));
  });
}

void DepthwiseConv::backward(const LayerContext& ctx, const LayerIo& io) const {
  const auto p = DepthwiseProblem::make(io.in[0].shape, stride_, padding_);
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const auto* dy = static_cast<const T*>(io.dy);
    if (io.dparams[0] != nullptr) {
      cpu::depthwise_backward_weight(ctx.cpu, p, static_cast<const T*>(io.x[0]), dy,
                                     static_cast<T*>(io.scratch), static_cast<T*>(io.dparams[0]));
    }
    if (io.dx[0] != nullptr) {
      cpu::depthwise_backward_data(ctx.cpu, p, dy, static_cast<const T*>(io.params[0]),
                                   io.dx_write[0], static_cast<T*>(io.dx[0]));
    }
  });
}

}  // namespace dfengine
