#include "layers/head.h"

#include <fmt/format.h>

#include "kernels/activation.h"
#include "kernels/bce_loss.h"
#include "kernels/bias.h"
#include "kernels/global_average_pool.h"
#include "kernels/pointwise_conv.h"

namespace dfengine {

Spec GlobalAveragePool::infer(std::span<const Spec> in) const {
  expect_inputs(in, 1);
  const bool narrow = element_size(in[0].element) < element_size(Element::F32);
  return {{in[0].shape.n, 1, 1, in[0].shape.c}, narrow ? Element::F32 : in[0].element};
}

void GlobalAveragePool::forward(const LayerContext& ctx, const LayerIo& io) const {
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cpu::global_average_pool_forward<T>(ctx.cpu, io.in[0].shape, static_cast<const T*>(io.x[0]),
                                        static_cast<T*>(io.y));
  });
}

void GlobalAveragePool::backward(const LayerContext& ctx, const LayerIo& io) const {
  if (io.dx[0] == nullptr) return;
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cpu::global_average_pool_backward<T>(ctx.cpu, io.in[0].shape, static_cast<const T*>(io.dy),
                                         io.dx_write[0], static_cast<T*>(io.dx[0]));
  });
}

Dense::Dense(std::string name, Index c, Index k, Activation activation)
    : Layer(std::move(name)), c_(c), k_(k), activation_(activation) {}

Spec Dense::infer(std::span<const Spec> in) const {
  expect_inputs(in, 1);
  const Shape x = in[0].shape;
  if (x.h != 1 || x.w != 1 || x.c != c_)
    fail_shape(fmt::format("takes [N, 1, 1, {}], input is {}", c_, to_string(x)));
  return {{x.n, 1, 1, k_}, in[0].element};
}

std::vector<ParamSpec> Dense::params() const {
  return {{name() + ".weight", {k_, c_}, Layout::Plain, Role::Weight, {0.0, c_}},
          {name() + ".bias", {k_}, Layout::Plain, Role::Bias, {0.0, 0}}};
}

LayerPlan Dense::plan(const PlanQuery& query) const {
  const auto p = PointwiseProblem::make(query.out.shape.n, c_, k_);
  const Index size = element_size(query.out.element);
  const Index packed = cpu::pointwise_packed_count(p) * size;
  LayerPlan plan;
  if (!query.backward) {
    plan.prepared = packed;
    return plan;
  }
  plan.backward_needs_input = true;
  plan.backward_needs_output = activation_ != Activation::None;
  plan.forward_scratch = packed;
  // Gradient before the activation, packed weights, partial weight gradients.
  plan.backward_scratch = query.out.bytes() + packed + cpu::pointwise_weight_scratch(p) * size;
  return plan;
}

void Dense::prepare(Element element, std::span<void* const> params, void* prepared) const {
  with_element(element, [&](auto t) {
    using T = decltype(t);
    cpu::pointwise_pack(PointwiseProblem::make(1, c_, k_), static_cast<const T*>(params[0]),
                        static_cast<T*>(prepared));
  });
}

void Dense::forward(const LayerContext& ctx, const LayerIo& io) const {
  const auto p = PointwiseProblem::make(io.out.shape.n, c_, k_);
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const T* packed = static_cast<const T*>(io.prepared);
    if (packed == nullptr) {  // training: the weights changed since the last step
      cpu::pointwise_pack(p, static_cast<const T*>(io.params[0]), static_cast<T*>(io.scratch));
      packed = static_cast<const T*>(io.scratch);
    }
    const Epilogue<T> epilogue{static_cast<const T*>(io.params[1]), activation_, nullptr};
    cpu::pointwise_forward(ctx.cpu, p, static_cast<const T*>(io.x[0]), packed, epilogue,
                           static_cast<T*>(io.y));
  });
}

void Dense::backward(const LayerContext& ctx, const LayerIo& io) const {
  const auto p = PointwiseProblem::make(io.out.shape.n, c_, k_);
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    auto* dz = static_cast<T*>(io.scratch);  // gradient before the activation
    T* packed = dz + io.out.shape.count();
    T* partial = packed + cpu::pointwise_packed_count(p);
    const T* g = static_cast<const T*>(io.dy);
    if (activation_ != Activation::None) {
      cpu::activation_backward<T>(ctx.cpu, activation_, io.out.shape.count(),
                                  static_cast<const T*>(io.y), g, Write::Overwrite, dz);
      g = dz;
    }
    if (io.dparams[0] != nullptr)
      cpu::pointwise_backward_weight(ctx.cpu, p, static_cast<const T*>(io.x[0]), g, partial,
                                     static_cast<T*>(io.dparams[0]));
    if (io.dparams[1] != nullptr)
      cpu::bias_backward<T>(ctx.cpu, p.m, k_, g, static_cast<T*>(io.dparams[1]));
    if (io.dx[0] != nullptr) {
      cpu::pointwise_pack_transposed(p, static_cast<const T*>(io.params[0]), packed);
      cpu::pointwise_backward_data<T>(ctx.cpu, p, g, packed, io.dx_write[0],
                                      static_cast<T*>(io.dx[0]));
    }
  });
}

Spec BceLoss::infer(std::span<const Spec> in) const {
  expect_inputs(in, 2);
  const Shape z = in[0].shape;
  if (z.count() != z.n || in[0] != in[1])
    fail_shape(fmt::format("takes logits and targets [N, 1, 1, 1], inputs are {} and {}",
                           to_string(z), to_string(in[1].shape)));
  return {{1, 1, 1, 1}, in[0].element};
}

LayerPlan BceLoss::plan(const PlanQuery&) const {
  LayerPlan plan;
  plan.backward_needs_input = true;
  plan.dx_overwrites = true;
  plan.starts_backward = true;
  return plan;
}

void BceLoss::forward(const LayerContext& ctx, const LayerIo& io) const {
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cpu::bce_forward<T>(ctx.cpu, io.in[0].shape.n, static_cast<const T*>(io.x[0]),
                        static_cast<const T*>(io.x[1]), static_cast<T*>(io.y));
  });
}

void BceLoss::backward(const LayerContext& ctx, const LayerIo& io) const {
  if (io.dx[0] == nullptr) return;
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cpu::bce_backward<T>(ctx.cpu, io.in[0].shape.n, static_cast<const T*>(io.x[0]),
                         static_cast<const T*>(io.x[1]), static_cast<T*>(io.dx[0]));
  });
}

}  // namespace dfengine
