// Batch norm on a CUDA device.
#include "layers/batch_norm.h"

namespace dfengine {

LayerPlan BatchNorm::device_plan(const PlanQuery& query) const {
  LayerPlan plan = this->plan(query);
  const Index scratch = cuda::batch_norm_scratch(problem(query.out.shape));
  constexpr Index kFloat = sizeof(float);
  if (batch_statistics(query.phase)) {
    plan.forward_scratch = scratch * kFloat;
    plan.saved = 2 * c_ * kFloat;  // mean, rstd
  }
  // Partial sums, then gradients that nobody asked for.
  if (query.backward) plan.backward_scratch = (scratch + 2 * c_) * kFloat;
  return plan;
}

void BatchNorm::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  const BatchNormProblem p = problem(io.out.shape);
  const auto param = [&](std::size_t i) { return static_cast<const float*>(io.params[i]); };
  const auto next = [&](std::size_t i) { return static_cast<float*>(io.dparams[i]); };
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const auto* x = static_cast<const T*>(io.x[0]);
    auto* y = static_cast<T*>(io.y);
    if (batch_statistics(io.phase)) {
      auto* saved = static_cast<float*>(io.saved);
      cuda::batch_norm_forward<T>(ctx.stream, p, x, param(0), param(1), param(2), param(3), next(2),
                                  next(3), static_cast<float*>(io.scratch), saved, saved + c_, y);
    } else {
      cuda::batch_norm_frozen_forward<T>(ctx.stream, p, x, param(0), param(1), param(2), param(3),
                                         y);
    }
  });
}

void BatchNorm::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  const BatchNormProblem p = problem(io.out.shape);
  const auto param = [&](std::size_t i) { return static_cast<const float*>(io.params[i]); };
  auto* scratch = static_cast<float*>(io.scratch);
  // The kernel always writes both parameter gradients.
  float* unused = scratch + cuda::batch_norm_scratch(p);
  float* dgamma = io.dparams[0] ? static_cast<float*>(io.dparams[0]) : unused;
  float* dbeta = io.dparams[1] ? static_cast<float*>(io.dparams[1]) : unused + c_;
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const auto* x = static_cast<const T*>(io.x[0]);
    const auto* dy = static_cast<const T*>(io.dy);
    T* dx = static_cast<T*>(io.dx[0]);
    if (batch_statistics(io.phase)) {
      const auto* saved = static_cast<const float*>(io.saved);
      cuda::batch_norm_backward<T>(ctx.stream, p, x, dy, param(0), param(1), saved, saved + c_,
                                   scratch, dgamma, dbeta, dx);
    } else {
      cuda::batch_norm_frozen_backward<T>(ctx.stream, p, x, dy, param(0), param(1), param(2),
                                          param(3), scratch, dgamma, dbeta, dx);
    }
  });
}

}  // namespace dfengine
