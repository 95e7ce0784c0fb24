// Batch normalisation over N, H, W with an optional activation behind it. Trains on batch
// statistics unless frozen; as part of an inference plan it is folded into the convolution before
// it. On a device its readers may compute its result (kernels/norm_on_load.h).
#pragma once

#include "kernels/batch_norm.h"
#include "layers/layer.h"

namespace dfengine {

struct BatchNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;
  Activation activation = Activation::None;
  bool frozen_statistics = false;
  bool deferred_output = false;
};

class BatchNorm final : public Layer {
 public:
  // Parameters: name.weight, name.bias, name.running_mean, name.running_var, each [C].
  BatchNorm(std::string name, Index c, BatchNormOptions options);

  std::string kind() const override;
  Spec infer(std::span<const Spec> in) const override;
  std::vector<ParamSpec> params() const override { return norm_.params; }
  LayerPlan plan(const PlanQuery& query) const override;
  void forward(const LayerContext& ctx, const LayerIo& io) const override;
  void backward(const LayerContext& ctx, const LayerIo& io) const override;
  LayerPlan device_plan(const PlanQuery& query) const override;
  void device_forward(const DeviceContext& ctx, const LayerIo& io) const override;
  void device_backward(const DeviceContext& ctx, const LayerIo& io) const override;
  LayerPtr with_activation(Activation activation) const override;
  LayerPtr with_frozen_statistics() const override;
  LayerPtr with_deferred_output() const override;
  NormOnLoad norm_on_load(const void* saved) const override;
  const FoldedNorm* norm() const override;

 private:
  bool batch_statistics(Phase phase) const {
    return phase == Phase::Train && !options_.frozen_statistics;
  }
  // Where a device's saved memory holds mean and rstd: behind scale and shift, if there are any.
  Index saved_statistics() const { return options_.deferred_output ? 2 * c_ : 0; }
  BatchNormProblem problem(const Shape& x) const {
    return BatchNormProblem::make(x.rows(), c_, options_.eps, options_.momentum,
                                  options_.activation);
  }

  Index c_;
  BatchNormOptions options_;
  FoldedNorm norm_;
};

}  // namespace dfengine
