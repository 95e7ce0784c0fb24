// Stem: 3x3 convolution at stride 2 from RGB, without bias: [N, H, W, 3] -> [N, P, Q, K].
#pragma once

#include "layers/convolution.h"

namespace dfengine {

class StemConv final : public Convolution {
 public:
  // weight_name: the parameter [K, 3, 3, 3].
  StemConv(std::string name, std::string weight_name, Index k, Padding padding,
           ConvFusion fusion = {});

  Spec infer(std::span<const Spec> in) const override;
  LayerPlan plan(const PlanQuery& query) const override;
  void forward(const LayerContext& ctx, const LayerIo& io) const override;
  // Weight gradient only: nothing trainable stands before the stem.
  void backward(const LayerContext& ctx, const LayerIo& io) const override;
  LayerPlan device_plan(const PlanQuery& query) const override;
  void device_forward(const DeviceContext& ctx, const LayerIo& io) const override;
  void device_backward(const DeviceContext& ctx, const LayerIo& io) const override;

 protected:
  std::string base_kind() const override { return "stem"; }
  LayerPtr with_fusion(ConvFusion fusion) const override;
  Index channels_out() const override { return k_; }
  Index packed_count() const override { return 27 * k_; }
  void pack(const float* w, float* packed) const override;
  void pack(const double* w, double* packed) const override;

 private:
  std::string weight_name_;
  Index k_;
  Padding padding_;
};

}  // namespace dfengine
