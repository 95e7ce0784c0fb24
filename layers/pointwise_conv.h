// 1x1 convolution without bias: [N, H, W, C] -> [N, H, W, K].
#pragma once

#include "layers/convolution.h"

namespace dfengine {

class PointwiseConv final : public Convolution {
 public:
  // weight_name: the parameter [K, C, 1, 1].
  PointwiseConv(std::string name, std::string weight_name, Index c, Index k,
                ConvFusion fusion = {});

  Spec infer(std::span<const Spec> in) const override;
  LayerPlan plan(const PlanQuery& query) const override;
  void forward(const LayerContext& ctx, const LayerIo& io) const override;
  void backward(const LayerContext& ctx, const LayerIo& io) const override;
  LayerPlan device_plan(const PlanQuery& query) const override;
  void device_forward(const DeviceContext& ctx, const LayerIo& io) const override;
  void device_backward(const DeviceContext& ctx, const LayerIo& io) const override;
  bool normalises_on_load() const override { return true; }

 protected:
  std::string base_kind() const override { return "pointwise"; }
  LayerPtr with_fusion(ConvFusion fusion) const override;
  Index channels_out() const override { return k_; }
  Index packed_count() const override;
  void pack(const float* w, float* packed) const override;
  void pack(const double* w, double* packed) const override;

 private:
  std::string weight_name_;
  Index c_, k_;
};

}  // namespace dfengine
