// Depthwise 3x3 convolution without bias: [N, H, W, C] -> [N, P, Q, C].
#pragma once

#include "layers/convolution.h"

namespace dfengine {

class DepthwiseConv final : public Convolution {
 public:
  // weight_name: the parameter [C, 1, 3, 3].
  DepthwiseConv(std::string name, std::string weight_name, Index c, Index stride, Padding padding,
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
  std::string base_kind() const override { return "depthwise"; }
  LayerPtr with_fusion(ConvFusion fusion) const override;
  Index channels_out() const override { return c_; }
  Index packed_count() const override { return 9 * c_; }
  void pack(const float* w, float* packed) const override;
  void pack(const double* w, double* packed) const override;

 private:
  std::string weight_name_;
  Index c_, stride_;
  Padding padding_;
};

}  // namespace dfengine
