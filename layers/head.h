// Layers behind the convolutions: global average pool, dense, the loss.
#pragma once

#include "layers/layer.h"

namespace dfengine {

// [N, H, W, C] -> [N, 1, 1, C]; 16-bit inputs become float, as everything behind is small.
class GlobalAveragePool final : public Layer {
 public:
  using Layer::Layer;
  std::string kind() const override { return "global_average_pool"; }
  Spec infer(std::span<const Spec> in) const override;
  LayerPlan plan(const PlanQuery&) const override { return {}; }
  void forward(const LayerContext& ctx, const LayerIo& io) const override;
  void backward(const LayerContext& ctx, const LayerIo& io) const override;
  void device_forward(const DeviceContext& ctx, const LayerIo& io) const override;
  void device_backward(const DeviceContext& ctx, const LayerIo& io) const override;
};

// y = x w^T + b with an optional ReLU: [N, 1, 1, C] -> [N, 1, 1, K].
// Parameters: name.weight [K, C] and name.bias [K], as torch.nn.Linear.
class Dense final : public Layer {
 public:
  Dense(std::string name, Index c, Index k, Activation activation);
  std::string kind() const override { return "dense" + activation_suffix(activation_); }
  Spec infer(std::span<const Spec> in) const override;
  std::vector<ParamSpec> params() const override;
  LayerPlan plan(const PlanQuery& query) const override;
  LayerPlan device_plan(const PlanQuery& query) const override;
  void prepare(Element element, std::span<void* const> params, void* prepared) const override;
  void forward(const LayerContext& ctx, const LayerIo& io) const override;
  void backward(const LayerContext& ctx, const LayerIo& io) const override;
  void device_forward(const DeviceContext& ctx, const LayerIo& io) const override;
  void device_backward(const DeviceContext& ctx, const LayerIo& io) const override;

 private:
  Index c_, k_;
  Activation activation_;
};

// Binary cross-entropy with logits: logits [N, 1, 1, 1] and targets [N, 1, 1, 1] -> mean loss [1,
// 1, 1, 1].
class BceLoss final : public Layer {
 public:
  using Layer::Layer;
  std::string kind() const override { return "bce_loss"; }
  Spec infer(std::span<const Spec> in) const override;
  LayerPlan plan(const PlanQuery& query) const override;
  void forward(const LayerContext& ctx, const LayerIo& io) const override;
  // The seed gradient is 1: dy is not read.
  void backward(const LayerContext& ctx, const LayerIo& io) const override;
  void device_forward(const DeviceContext& ctx, const LayerIo& io) const override;
  void device_backward(const DeviceContext& ctx, const LayerIo& io) const override;
};

}  // namespace dfengine
