#include "layers/convolution.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"

namespace dfengine {

std::string Convolution::kind() const {
  return base_kind() + (fusion_.norm ? "+bn" : "") + activation_suffix(fusion_.activation) +
         (fusion_.residual ? "+add" : "");
}

std::vector<ParamSpec> Convolution::params() const {
  std::vector<ParamSpec> all = {weight_};
  if (fusion_.norm) all.insert(all.end(), fusion_.norm->params.begin(), fusion_.norm->params.end());
  return all;
}

LayerPtr Convolution::with_activation(Activation activation) const {
  if (fusion_.activation != Activation::None || fusion_.residual) return nullptr;
  ConvFusion fused = fusion_;
  fused.activation = activation;
  return with_fusion(std::move(fused));
}

LayerPtr Convolution::with_norm(const FoldedNorm& norm) const {
  if (fusion_.norm || fusion_.activation != Activation::None || fusion_.residual) return nullptr;
  ConvFusion fused = fusion_;
  fused.norm = norm;
  return with_fusion(std::move(fused));
}

LayerPtr Convolution::with_residual() const {
  if (fusion_.residual) return nullptr;
  ConvFusion fused = fusion_;
  fused.residual = true;
  return with_fusion(std::move(fused));
}

void Convolution::expect_residual(std::span<const Spec> in, const Spec& out) const {
  if (fusion_.residual && in[1].shape != out.shape)
    fail_shape("residual " + to_string(in[1].shape) + " does not fit output " +
               to_string(out.shape));
}

Index Convolution::prepared_bytes(Element element) const {
  return (packed_count() + channels_out()) * element_size(element);
}

void Convolution::prepare(Element element, std::span<void* const> params, void* prepared) const {
  with_element(element, [&](auto t) { prepare_as(params, static_cast<decltype(t)*>(prepared)); });
}

template <class T>
void Convolution::prepare_as(std::span<void* const> params, T* prepared) const {
  const Folded<T> folded = fold<T>(params);
  pack(folded.weights.data(), prepared);
  std::ranges::copy(folded.bias, prepared + packed_count());
}

// w' = w * gamma / sqrt(var + eps), bias = beta - mean * gamma / sqrt(var + eps).
template <class T>
Convolution::Folded<T> Convolution::fold(std::span<void* const> params) const {
  const auto* w = static_cast<const T*>(params[0]);
  const auto channels = static_cast<std::size_t>(channels_out());
  const auto count = static_cast<std::size_t>(weight_.count());
  Folded<T> out{{w, w + count}, {}};
  if (!fusion_.norm) return out;
  const auto vector = [&](std::size_t i) { return static_cast<const T*>(params[i]); };
  const T *gamma = vector(1), *beta = vector(2), *mean = vector(3), *var = vector(4);
  std::vector<double> scale(channels);
  out.bias.resize(channels);
  for (std::size_t k = 0; k < channels; ++k) {
    scale[k] = gamma[k] / std::sqrt(static_cast<double>(var[k]) + fusion_.norm->eps);
    out.bias[k] = static_cast<T>(beta[k] - mean[k] * scale[k]);
  }
  const std::size_t per_channel = count / channels;
  // Plain weights are [K, C]: the channel is the slow index. The others end in the channel.
  const bool channel_first = weight_.layout == Layout::Plain;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t k = channel_first ? i / per_channel : i % channels;
    out.weights[i] = static_cast<T>(w[i] * scale[k]);
  }
  return out;
}

// The device form needs fold<float>, from layers/device/convolution.cpp.
template Convolution::Folded<float> Convolution::fold(std::span<void* const>) const;

}  // namespace dfengine
