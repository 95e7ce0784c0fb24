// Layers that keep the shape: image_normalize, activation, residual_add, dropout.
#pragma once

#include <array>

#include "layers/layer.h"

namespace dfengine {

// Pixels to network input: [N, H, W, 3] uint8 -> (x / 255 - mean) / std_dev in the given element.
class ImageNormalize final : public Layer {
 public:
  ImageNormalize(std::string name, std::array<double, 3> mean, std::array<double, 3> std_dev,
                 Element element);
  std::string kind() const override { return "image_normalize"; }
  Spec infer(std::span<const Spec> in) const override;
  LayerPlan plan(const PlanQuery&) const override { return {}; }
  void forward(const LayerContext& ctx, const LayerIo& io) const override;
  void device_forward(const DeviceContext& ctx, const LayerIo& io) const override;

 private:
  std::array<double, 3> mean_, std_dev_;
  Element element_;
};

class ActivationLayer final : public Layer {
 public:
  // Relu or Relu6; None is a UsageError.
  ActivationLayer(std::string name, Activation activation);
  std::string kind() const override { return activation_suffix(activation_).substr(1); }
  Spec infer(std::span<const Spec> in) const override;
  LayerPlan plan(const PlanQuery& query) const override;
  void forward(const LayerContext& ctx, const LayerIo& io) const override;
  void backward(const LayerContext& ctx, const LayerIo& io) const override;
  void device_forward(const DeviceContext& ctx, const LayerIo& io) const override;
  void device_backward(const DeviceContext& ctx, const LayerIo& io) const override;
  Activation activation_only() const override { return activation_; }

 private:
  Activation activation_;
};

// y = in[0] + in[1]; in[1] is the skip.
class ResidualAdd final : public Layer {
 public:
  using Layer::Layer;
  std::string kind() const override { return "residual_add"; }
  Spec infer(std::span<const Spec> in) const override;
  LayerPlan plan(const PlanQuery& query) const override;
  void forward(const LayerContext& ctx, const LayerIo& io) const override;
  void backward(const LayerContext& ctx, const LayerIo& io) const override;
  void device_forward(const DeviceContext& ctx, const LayerIo& io) const override;
  void device_backward(const DeviceContext& ctx, const LayerIo& io) const override;
  bool is_residual_add() const override { return true; }
};

// Inverted dropout; the identity outside training.
class Dropout final : public Layer {
 public:
  // 0 <= rate < 1, else UsageError.
  Dropout(std::string name, double rate);
  std::string kind() const override { return "dropout"; }
  Spec infer(std::span<const Spec> in) const override;
  LayerPlan plan(const PlanQuery& query) const override;
  void forward(const LayerContext& ctx, const LayerIo& io) const override;
  void backward(const LayerContext& ctx, const LayerIo& io) const override;
  void device_forward(const DeviceContext& ctx, const LayerIo& io) const override;
  void device_backward(const DeviceContext& ctx, const LayerIo& io) const override;

 private:
  double rate_;
};

}  // namespace dfengine
