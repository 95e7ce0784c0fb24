// What the three convolution layers share: an optional batch norm folded in, an activation and a
// residual behind it. Plain (nothing fused): trainable. With anything fused: inference form, no
// gradient, weights and bias prepared from weight and batch norm vectors.
#pragma once

#include <optional>

#include "kernels/cuda/tuning/choice.h"
#include "kernels/epilogue.h"
#include "layers/layer.h"

namespace dfengine {

struct ConvFusion {
  std::optional<FoldedNorm> norm;
  Activation activation = Activation::None;
  bool residual = false;  // a second input is added behind the activation
};

class Convolution : public Layer {
 public:
  Convolution(std::string name, ParamSpec weight, ConvFusion fusion)
      : Layer(std::move(name)), weight_(std::move(weight)), fusion_(std::move(fusion)) {}

  std::string kind() const final;
  std::vector<ParamSpec> params() const final;
  void prepare(Element element, std::span<void* const> params, void* prepared) const final;
  void device_prepare(Element element, std::span<void* const> params, void* prepared) const final;
  LayerPtr with_activation(Activation activation) const final;
  LayerPtr with_norm(const FoldedNorm& norm) const final;
  LayerPtr with_residual() const final;

 protected:
  virtual std::string base_kind() const = 0;
  virtual LayerPtr with_fusion(ConvFusion fusion) const = 0;
  // Output channels: the length of the folded bias.
  virtual Index channels_out() const = 0;
  // Elements of the weights in the kernel's order, and the reordering itself.
  virtual Index packed_count() const = 0;
  virtual void pack(const float* w, float* packed) const = 0;
  virtual void pack(const double* w, double* packed) const = 0;

  const ConvFusion& fusion() const { return fusion_; }
  std::size_t input_count() const { return fusion_.residual ? 2 : 1; }
  void expect_residual(std::span<const Spec> in, const Spec& out) const;
  // prepared = packed weights, then the bias.
  Index prepared_bytes(Element element) const;
  // On a device: weights in the element, as they lie in the parameter block; float bias behind
  // them.
  // backward_scratch: bytes.
  LayerPlan device_plan_for(const PlanQuery& query, Index backward_scratch) const;
  // What a launch adds to its result.
  cuda::EpilogueForm epilogue_form() const {
    return {fusion_.norm.has_value(), fusion_.activation, fusion_.residual};
  }
  const void* device_weights(const LayerIo& io) const {
    return io.prepared != nullptr ? io.prepared : io.working[0];
  }
  template <class T>
  Epilogue<T, float> device_epilogue(const LayerIo& io) const {
    Epilogue<T, float> e;
    if (fusion_.norm)
      e.bias = reinterpret_cast<const float*>(static_cast<const std::byte*>(io.prepared) +
                                              device_bias_offset(io.out.element));
    e.activation = fusion_.activation;
    if (fusion_.residual) e.residual = static_cast<const T*>(io.x[1]);
    return e;
  }
  template <class T>
  Epilogue<T> epilogue(const LayerIo& io) const {
    Epilogue<T> e;
    if (fusion_.norm) e.bias = static_cast<const T*>(io.prepared) + packed_count();
    e.activation = fusion_.activation;
    if (fusion_.residual) e.residual = static_cast<const T*>(io.x[1]);
    return e;
  }

 private:
  template <class T>
  void prepare_as(std::span<void* const> params, T* prepared) const;
  // Weights in the order of the parameter block, times the folded norm's scale; and the bias.
  template <class T>
  struct Folded {
    std::vector<T> weights, bias;
  };
  template <class T>
  Folded<T> fold(std::span<void* const> params) const;
  Index device_bias_offset(Element element) const;

  ParamSpec weight_;
  ConvFusion fusion_;
};

}  // namespace dfengine
