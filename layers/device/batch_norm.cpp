// Batch norm on a CUDA device. Saved, each [C]: scale and shift where the output is deferred, then
// mean and rstd of batch statistics.
#include "layers/batch_norm.h"

namespace dfengine {

LayerPlan BatchNorm::device_plan(const PlanQuery& query) const {
  LayerPlan plan = this->plan(query);
  const Index scratch = cuda::batch_norm_scratch(problem(query.out.shape));
  constexpr Index kFloat = sizeof(float);
  if (batch_statistics(query.phase)) {
    plan.forward_scratch = scratch * kFloat;
    plan.saved = 2 * c_ * kFloat;
  }
  plan.saved += saved_statistics() * kFloat;
  plan.defers_output = options_.deferred_output;
  // Partial sums, then gradients that nobody asked for.
  if (query.backward) plan.backward_scratch = (scratch + 2 * c_) * kFloat;
  return plan;
}

NormOnLoad BatchNorm::norm_on_load(const void* saved) const {
  const auto* scale = static_cast<const float*>(saved);
  return {scale, scale + c_, options_.activation};
}

void BatchNorm::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  const BatchNormProblem p = problem(io.out.shape);
  const auto param = [&](std::size_t i) { return static_cast<const float*>(io.params[i]); };
  const auto next = [&](std::size_t i) { return static_cast<float*>(io.dparams[i]); };
  auto* scale = static_cast<float*>(io.saved);
  float* const mean = scale + saved_statistics();
  auto* scratch = static_cast<float*>(io.scratch);
  if (options_.deferred_output && options_.frozen_statistics)
    return cuda::batch_norm_frozen_statistics(ctx.stream, p, param(0), param(1), param(2), param(3),
                                              scale, scale + c_);
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const auto* x = static_cast<const T*>(io.x[0]);
    auto* y = static_cast<T*>(io.y);
    if (!batch_statistics(io.phase)) {
      cuda::batch_norm_frozen_forward<T>(ctx.stream, p, x, param(0), param(1), param(2), param(3),
                                         y);
    } else if (options_.deferred_output) {
      cuda::batch_norm_statistics<T>(ctx.stream, p, x, param(0), param(1), param(2), param(3),
                                     next(2), next(3), scratch, mean, mean + c_, scale, scale + c_);
    } else {
      cuda::batch_norm_forward<T>(ctx.stream, p, x, param(0), param(1), param(2), param(3), next(2),
                                  next(3), scratch, mean, mean + c_, y);
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
      const auto* mean = static_cast<const float*>(io.saved) + saved_statistics();
      cuda::batch_norm_backward<T>(ctx.stream, p, x, dy, param(0), param(1), mean, mean + c_,
                                   scratch, dgamma, dbeta, dx);
    } else {
      cuda::batch_norm_frozen_backward<T>(ctx.stream, p, x, dy, param(0), param(1), param(2),
                                          param(3), scratch, dgamma, dbeta, dx);
    }
  });
}

}  // namespace dfengine
