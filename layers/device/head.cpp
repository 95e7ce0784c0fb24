// Pooling, dense and loss on a CUDA device. What stands behind the pool is in float.
#include "layers/head.h"

#include "kernels/activation.h"
#include "kernels/bce_loss.h"
#include "kernels/bias.h"
#include "kernels/global_average_pool.h"
#include "kernels/pointwise_conv.h"

namespace dfengine {
namespace {

constexpr Index kFloat = sizeof(float);

void expect_float(const Layer& layer, const LayerIo& io) {
  if (io.in[0].element != Element::F32)
    throw Error("layer " + layer.name() + ": takes float on CUDA devices");
}

}  // namespace

void GlobalAveragePool::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  with_device_element(io.in[0].element, [&](auto t) {
    using T = decltype(t);
    cuda::global_average_pool_forward<T>(ctx.stream, io.in[0].shape, static_cast<const T*>(io.x[0]),
                                         static_cast<float*>(io.y));
  });
}

void GlobalAveragePool::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  if (io.dx[0] == nullptr) return;
  with_device_element(io.in[0].element, [&](auto t) {
    using T = decltype(t);
    cuda::global_average_pool_backward<T>(ctx.stream, io.in[0].shape,
                                          static_cast<const float*>(io.dy), io.dx_write[0],
                                          static_cast<T*>(io.dx[0]));
  });
}

LayerPlan Dense::device_plan(const PlanQuery& query) const {
  LayerPlan plan;
  if (!query.backward) return plan;
  const auto p = PointwiseProblem::make(query.out.shape.n, c_, k_);
  plan.backward_needs_input = true;
  plan.backward_needs_output = activation_ != Activation::None;
  // Gradient before the activation, then partial sums of weight and bias in turn.
  plan.backward_scratch =
      query.out.bytes() +
      std::max(cuda::pointwise_weight_scratch(p), cuda::bias_scratch(p.m, k_)) * kFloat;
  return plan;
}

void Dense::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  expect_float(*this, io);
  const auto p = PointwiseProblem::make(io.out.shape.n, c_, k_);
  const Epilogue<float, float> epilogue{static_cast<const float*>(io.params[1]), activation_,
                                        nullptr};
  cuda::pointwise_forward<float>(ctx.stream, p, static_cast<const float*>(io.x[0]),
                                 static_cast<const float*>(io.params[0]), epilogue,
                                 static_cast<float*>(io.y));
}

void Dense::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  const auto p = PointwiseProblem::make(io.out.shape.n, c_, k_);
  auto* dz = static_cast<float*>(io.scratch);  // gradient before the activation
  float* partial = dz + io.out.shape.count();
  const auto* g = static_cast<const float*>(io.dy);
  if (activation_ != Activation::None) {
    cuda::activation_backward<float>(ctx.stream, activation_, io.out.shape.count(),
                                     static_cast<const float*>(io.y), g, Write::Overwrite, dz);
    g = dz;
  }
  if (io.dparams[0] != nullptr)
    cuda::pointwise_backward_weight<float>(ctx.stream, p, static_cast<const float*>(io.x[0]), g,
                                           partial, static_cast<float*>(io.dparams[0]));
  if (io.dparams[1] != nullptr)
    cuda::bias_backward(ctx.stream, p.m, k_, g, partial, static_cast<float*>(io.dparams[1]));
  if (io.dx[0] != nullptr)
    cuda::pointwise_backward_data<float>(ctx.stream, p, g, static_cast<const float*>(io.params[0]),
                                         io.dx_write[0], static_cast<float*>(io.dx[0]));
}

void BceLoss::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  expect_float(*this, io);
  cuda::bce_forward(ctx.stream, io.in[0].shape.n, static_cast<const float*>(io.x[0]),
                    static_cast<const float*>(io.x[1]), static_cast<float*>(io.y));
}

void BceLoss::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  if (io.dx[0] == nullptr) return;
  cuda::bce_backward(ctx.stream, io.in[0].shape.n, static_cast<const float*>(io.x[0]),
                     static_cast<const float*>(io.x[1]), ctx.scalars,
                     static_cast<float*>(io.dx[0]));
}

}  // namespace dfengine
