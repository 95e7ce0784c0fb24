#include "layers/pointwise_conv.h"

#include <fmt/format.h>

#include "kernels/pointwise_conv.h"

namespace dfengine {
namespace {

// One image's worth of rows stands for all: packing depends on C and K alone.
PointwiseProblem problem(Index rows, Index c, Index k) {
  return PointwiseProblem::make(rows, c, k);
}

}  // namespace

PointwiseConv::PointwiseConv(std::string name, std::string weight_name, Index c, Index k,
                             ConvFusion fusion)
    // He's fan is the number of outputs, as in torchvision's mobilenetv2.py (mode="fan_out").
    : Convolution(std::move(name),
                  {weight_name, {k, c, 1, 1}, Layout::Plain, Role::Weight, {0.0, k}},
                  std::move(fusion)),
      weight_name_(std::move(weight_name)),
      c_(c),
      k_(k) {}

LayerPtr PointwiseConv::with_fusion(ConvFusion fusion) const {
  return std::make_shared<PointwiseConv>(name(), weight_name_, c_, k_, std::move(fusion));
}

Spec PointwiseConv::infer(std::span<const Spec> in) const {
  expect_inputs(in, input_count());
  const Shape x = in[0].shape;
  if (x.c != c_) fail_shape(fmt::format("takes {} channels, input is {}", c_, to_string(x)));
  const Spec out{{x.n, x.h, x.w, k_}, in[0].element};
  expect_residual(in, out);
  return out;
}

Index PointwiseConv::packed_count() const {
  return cpu::pointwise_packed_count(problem(1, c_, k_));
}

void PointwiseConv::pack(const float* w, float* packed) const {
  cpu::pointwise_pack(problem(1, c_, k_), w, packed);
}

void PointwiseConv::pack(const double* w, double* packed) const {
  cpu::pointwise_pack(problem(1, c_, k_), w, packed);
}

LayerPlan PointwiseConv::plan(const PlanQuery& query) const {
  const Element element = query.out.element;
  LayerPlan plan;
  if (!query.backward) {
    plan.prepared = prepared_bytes(element);
    if (fusion().residual) plan.overwrites_input = 1;
    return plan;
  }
  const PointwiseProblem p = problem(query.out.shape.rows(), c_, k_);
  plan.backward_needs_input = true;
  plan.forward_scratch = packed_count() * element_size(element);
  // Packed weights for the data gradient, then the partial weight gradients.
  plan.backward_scratch =
      (packed_count() + cpu::pointwise_weight_scratch(p)) * element_size(element);
  return plan;
}

void PointwiseConv::forward(const LayerContext& ctx, const LayerIo& io) const {
  const PointwiseProblem p = problem(io.out.shape.rows(), c_, k_);
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const T* packed = static_cast<const T*>(io.prepared);
    if (packed == nullptr) {  // training: the weights changed since the last step
      cpu::pointwise_pack(p, static_cast<const T*>(io.params[0]), static_cast<T*>(io.scratch));
      packed = static_cast<const T*>(io.scratch);
    }
    cpu::pointwise_forward(ctx.cpu, p, static_cast<const T*>(io.x[0]), packed, epilogue<T>(io),
                           static_cast<T*>(io.y));
  });
}

void PointwiseConv::backward(const LayerContext& ctx, const LayerIo& io) const {
  const PointwiseProblem p = problem(io.out.shape.rows(), c_, k_);
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const auto* dy = static_cast<const T*>(io.dy);
    auto* packed = static_cast<T*>(io.scratch);
    if (io.dparams[0] != nullptr) {
      cpu::pointwise_backward_weight(ctx.cpu, p, static_cast<const T*>(io.x[0]), dy,
                                     packed + packed_count(), static_cast<T*>(io.dparams[0]));
    }
    if (io.dx[0] != nullptr) {
      cpu::pointwise_pack_transposed(p, static_cast<const T*>(io.params[0]), packed);
      cpu::pointwise_backward_data(ctx.cpu, p, dy, packed, io.dx_write[0],
                                   static_cast<T*>(io.dx[0]));
    }
  });
}

}  // namespace dfengine
