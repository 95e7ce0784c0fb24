#include "layers/elementwise.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/activation.h"
#include "kernels/base/error.h"
#include "kernels/dropout.h"
#include "kernels/image_normalize.h"
#include "kernels/residual_add.h"

namespace dfengine {

ImageNormalize::ImageNormalize(std::string name, std::array<double, 3> mean,
                               std::array<double, 3> std_dev, Element element)
    : Layer(std::move(name)), mean_(mean), std_dev_(std_dev), element_(element) {
  for (double s : std_dev_)
    if (!(s > 0)) throw UsageError("image_normalize: standard deviations must be positive");
}

Spec ImageNormalize::infer(std::span<const Spec> in) const {
  expect_count(in, 1);
  if (in[0].shape.c != 3 || in[0].element != Element::U8)
    fail_shape("takes uint8 RGB, input is " + to_string(in[0].shape));
  return {in[0].shape, element_};
}

void ImageNormalize::forward(const LayerContext& ctx, const LayerIo& io) const {
  with_element(element_, [&](auto t) {
    using T = decltype(t);
    cpu::image_normalize<T>(ctx.cpu, io.out.shape.rows(), mean_.data(), std_dev_.data(),
                            static_cast<const std::uint8_t*>(io.x[0]), static_cast<T*>(io.y));
  });
}

ActivationLayer::ActivationLayer(std::string name, Activation activation)
    : Layer(std::move(name)), activation_(activation) {
  if (activation == Activation::None) throw UsageError("activation layer without an activation");
}

Spec ActivationLayer::infer(std::span<const Spec> in) const {
  expect_inputs(in, 1);
  return in[0];
}

LayerPlan ActivationLayer::plan(const PlanQuery& query) const {
  LayerPlan plan;
  plan.backward_needs_output = query.backward;
  plan.dx_may_be_dy = true;
  plan.overwrites_input = 0;
  return plan;
}

void ActivationLayer::forward(const LayerContext& ctx, const LayerIo& io) const {
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cpu::activation_forward<T>(ctx.cpu, activation_, io.out.shape.count(),
                               static_cast<const T*>(io.x[0]), static_cast<T*>(io.y));
  });
}

void ActivationLayer::backward(const LayerContext& ctx, const LayerIo& io) const {
  if (io.dx[0] == nullptr) return;
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cpu::activation_backward<T>(ctx.cpu, activation_, io.out.shape.count(),
                                static_cast<const T*>(io.y), static_cast<const T*>(io.dy),
                                io.dx_write[0], static_cast<T*>(io.dx[0]));
  });
}

Spec ResidualAdd::infer(std::span<const Spec> in) const {
  expect_inputs(in, 2);
  if (in[0] != in[1])
    fail_shape(fmt::format("adds {} and {}", to_string(in[0].shape), to_string(in[1].shape)));
  return in[0];
}

LayerPlan ResidualAdd::plan(const PlanQuery&) const {
  LayerPlan plan;
  plan.dx_may_be_dy = true;
  plan.overwrites_input = 0;
  return plan;
}

void ResidualAdd::forward(const LayerContext& ctx, const LayerIo& io) const {
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cpu::residual_add<T>(ctx.cpu, io.out.shape.count(), static_cast<const T*>(io.x[0]),
                         static_cast<const T*>(io.x[1]), static_cast<T*>(io.y));
  });
}

void ResidualAdd::backward(const LayerContext& ctx, const LayerIo& io) const {
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    for (std::size_t side = 0; side < 2; ++side) {
      if (io.dx[side] == nullptr) continue;
      const bool done = io.dx[side] == io.dy && io.dx_write[side] == Write::Overwrite;
      if (done) continue;
      cpu::residual_add_backward<T>(ctx.cpu, io.out.shape.count(), static_cast<const T*>(io.dy),
                                    io.dx_write[side], static_cast<T*>(io.dx[side]));
    }
  });
}

Dropout::Dropout(std::string name, double rate) : Layer(std::move(name)), rate_(rate) {
  if (!(rate >= 0 && rate < 1))
    throw UsageError(fmt::format("dropout rate {} is not in [0, 1)", rate));
}

Spec Dropout::infer(std::span<const Spec> in) const {
  expect_inputs(in, 1);
  return in[0];
}

LayerPlan Dropout::plan(const PlanQuery&) const {
  LayerPlan plan;
  plan.dx_may_be_dy = true;
  plan.overwrites_input = 0;
  return plan;
}

void Dropout::forward(const LayerContext& ctx, const LayerIo& io) const {
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    const Index count = io.out.shape.count();
    if (io.phase == Phase::Train) {
      cpu::dropout_forward<T>(ctx.cpu, count, rate_, ctx.step->seed, ctx.step->step,
                              static_cast<const T*>(io.x[0]), static_cast<T*>(io.y));
    } else if (io.x[0] != io.y) {
      std::memcpy(io.y, io.x[0], static_cast<std::size_t>(count) * sizeof(T));
    }
  });
}

void Dropout::backward(const LayerContext& ctx, const LayerIo& io) const {
  if (io.dx[0] == nullptr) return;
  with_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cpu::dropout_backward<T>(ctx.cpu, io.out.shape.count(), rate_, ctx.step->seed, ctx.step->step,
                             static_cast<const T*>(io.dy), io.dx_write[0],
                             static_cast<T*>(io.dx[0]));
  });
}

}  // namespace dfengine
