#include "layers/stem_conv.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/stem_conv.h"

namespace dfengine {

StemConv::StemConv(std::string name, std::string weight_name, Index k, Padding padding,
                   ConvFusion fusion)
    : Convolution(std::move(name),
                  {weight_name, {k, 3, 3, 3}, Layout::StemRSCK, Role::Weight, {0.0, 9 * k}},
                  std::move(fusion)),
      weight_name_(std::move(weight_name)),
      k_(k),
      padding_(padding) {}

LayerPtr StemConv::with_fusion(ConvFusion fusion) const {
  return std::make_shared<StemConv>(name(), weight_name_, k_, padding_, std::move(fusion));
}

Spec StemConv::infer(std::span<const Spec> in) const {
  expect_inputs(in, input_count());
  if (in[0].shape.c != StemProblem::kChannels)
    fail_shape(fmt::format("takes RGB, input is {}", to_string(in[0].shape)));
  const Spec out{StemProblem::make(in[0].shape, k_, padding_).output(), in[0].element};
  expect_residual(in, out);
  return out;
}

void StemConv::pack(const float* w, float* packed) const {
  std::copy_n(w, 27 * k_, packed);
}

void StemConv::pack(const double* w, double* packed) const {
  std::copy_n(w, 27 * k_, packed);
}

LayerPlan StemConv::plan(const PlanQuery& query) const {
  LayerPlan plan;
  if (!query.backward) {
    plan.prepared = prepared_bytes(query.out.element);
    return plan;
  }
  const auto p = StemProblem::make(query.in[0].shape, k_, padding_);
  plan.backward_needs_input = true;
  plan.backward_scratch = cpu::stem_weight_scratch(p) * element_size(query.out.element);
  return plan;
}

void StemConv::forward(const LayerContext& ctx, const LayerIo& io) const {
  const auto p = StemProblem::make(io.in[0].shape, k_, padding_);
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const void* w = io.prepared != nullptr ? io.prepared : io.params[0];
    cpu::stem_forward(ctx.cpu, p, static_cast<const T*>(io.x[0]), static_cast<const T*>(w),
                      epilogue<T>(io), static_cast<T*>(io.y));
  });
}

void StemConv::backward(const LayerContext& ctx, const LayerIo& io) const {
  if (io.dx[0] != nullptr) throw Error("layer " + name() + " (stem) has no data gradient");
  const auto p = StemProblem::make(io.in[0].shape, k_, padding_);
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    if (io.dparams[0] == nullptr) return;
    cpu::stem_backward_weight(ctx.cpu, p, static_cast<const T*>(io.x[0]),
                              static_cast<const T*>(io.dy), static_cast<T*>(io.scratch),
                              static_cast<T*>(io.dparams[0]));
  });
}

}  // namespace dfengine
