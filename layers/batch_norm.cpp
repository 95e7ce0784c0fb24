#include "layers/batch_norm.h"

#include <fmt/format.h>

namespace dfengine {

BatchNorm::BatchNorm(std::string name, Index c, BatchNormOptions options)
    : Layer(name), c_(c), options_(options) {
  norm_.eps = options.eps;
  norm_.params = {
      {name + ".weight", {c}, Layout::Plain, Role::NormScale, {1.0, 0}},
      {name + ".bias", {c}, Layout::Plain, Role::NormShift, {0.0, 0}},
      {name + ".running_mean", {c}, Layout::Plain, Role::RunningMean, {0.0, 0}},
      {name + ".running_var", {c}, Layout::Plain, Role::RunningVar, {1.0, 0}},
  };
}

std::string BatchNorm::kind() const {
  return std::string(options_.frozen_statistics ? "frozen_batch_norm" : "batch_norm") +
         activation_suffix(options_.activation);
}

Spec BatchNorm::infer(std::span<const Spec> in) const {
  expect_inputs(in, 1);
  if (in[0].shape.c != c_)
    fail_shape(fmt::format("takes {} channels, input is {}", c_, to_string(in[0].shape)));
  return in[0];
}

LayerPlan BatchNorm::plan(const PlanQuery& query) const {
  LayerPlan plan;
  const Index size = element_size(query.out.element);
  const Index scratch = cpu::batch_norm_scratch(problem(query.out.shape)) * size;
  if (batch_statistics(query.phase)) {
    if (query.out.shape.rows() == 1)
      fail_shape("needs more than one value per channel in training, input is " +
                 to_string(query.out.shape));
    plan.forward_scratch = scratch;
    plan.saved = 2 * c_ * size;  // mean, rstd
  }
  if (query.backward) {
    plan.backward_needs_input = true;
    plan.backward_scratch = scratch + 2 * c_ * size;  // gradients that nobody asked for
    plan.dx_may_be_dy = true;
    plan.dx_overwrites = true;
  } else if (!batch_statistics(query.phase)) {
    plan.overwrites_input = 0;
  }
  return plan;
}

void BatchNorm::forward(const LayerContext& ctx, const LayerIo& io) const {
  const BatchNormProblem p = problem(io.out.shape);
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const auto param = [&](std::size_t i) { return static_cast<T*>(io.params[i]); };
    const auto* x = static_cast<const T*>(io.x[0]);
    if (batch_statistics(io.phase)) {
      T* saved = static_cast<T*>(io.saved);
      cpu::batch_norm_forward<T>(ctx.cpu, p, x, param(0), param(1), param(2), param(3),
                                 static_cast<T*>(io.scratch), saved, saved + c_,
                                 static_cast<T*>(io.y));
    } else {
      cpu::batch_norm_frozen_forward<T>(ctx.cpu, p, x, param(0), param(1), param(2), param(3),
                                        static_cast<T*>(io.y));
    }
  });
}

void BatchNorm::backward(const LayerContext& ctx, const LayerIo& io) const {
  const BatchNormProblem p = problem(io.out.shape);
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const auto param = [&](std::size_t i) { return static_cast<const T*>(io.params[i]); };
    const auto* x = static_cast<const T*>(io.x[0]);
    const auto* dy = static_cast<const T*>(io.dy);
    // The kernel always writes both parameter gradients.
    T* unused = static_cast<T*>(io.scratch);
    T* scratch = unused + 2 * c_;
    T* dx = static_cast<T*>(io.dx[0]);
    T* dgamma = io.dparams[0] ? static_cast<T*>(io.dparams[0]) : unused;
    T* dbeta = io.dparams[1] ? static_cast<T*>(io.dparams[1]) : unused + c_;
    if (batch_statistics(io.phase)) {
      const T* saved = static_cast<const T*>(io.saved);
      cpu::batch_norm_backward<T>(ctx.cpu, p, x, dy, param(0), param(1), saved, saved + c_, scratch,
                                  dgamma, dbeta, dx);
    } else {
      cpu::batch_norm_frozen_backward<T>(ctx.cpu, p, x, dy, param(0), param(1), param(2), param(3),
                                         scratch, dgamma, dbeta, dx);
    }
  });
}

LayerPtr BatchNorm::with_activation(Activation activation) const {
  if (options_.activation != Activation::None) return nullptr;
  BatchNormOptions fused = options_;
  fused.activation = activation;
  return std::make_shared<BatchNorm>(name(), c_, fused);
}

LayerPtr BatchNorm::with_deferred_output() const {
  BatchNormOptions deferred = options_;
  deferred.deferred_output = true;
  return std::make_shared<BatchNorm>(name(), c_, deferred);
}

LayerPtr BatchNorm::with_frozen_statistics() const {
  BatchNormOptions frozen = options_;
  frozen.frozen_statistics = true;
  return std::make_shared<BatchNorm>(name(), c_, frozen);
}

const FoldedNorm* BatchNorm::norm() const {
  return options_.activation == Activation::None ? &norm_ : nullptr;
}

}  // namespace dfengine
