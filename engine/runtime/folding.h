// A convolution's weights with the batch norm behind it folded in.
#pragma once

#include <cmath>

#include "engine/plan/kernel.h"

namespace dfengine {

// weights: in the order that memory has them; bias [out], empty without a norm.
template <class T>
struct FoldedWeights {
  std::vector<T> weights, bias;
};

// w' = w * gamma / sqrt(var + eps), bias = beta - mean * gamma / sqrt(var + eps). params: weight,
// then those of the norm.
template <class T>
FoldedWeights<T> fold(const Convolution& conv, std::span<const ConstPlace> params) {
  const auto channels = static_cast<std::size_t>(conv.out);
  const auto count = static_cast<std::size_t>(conv.out * (conv.in / conv.groups) *
                                              conv.window.size * conv.window.size);
  const T* w = params[0].as<T>();
  FoldedWeights<T> folded{{w, w + count}, {}};
  if (!conv.norm) return folded;
  const auto norm = params.subspan(1);
  const T *gamma = norm[kNormScale].as<T>(), *beta = norm[kNormShift].as<T>();
  const T *mean = norm[kNormMean].as<T>(), *var = norm[kNormVariance].as<T>();
  std::vector<double> scale(channels);
  folded.bias.resize(channels);
  for (std::size_t k = 0; k < channels; ++k) {
    scale[k] = gamma[k] / std::sqrt(static_cast<double>(var[k]) + conv.norm->eps);
    folded.bias[k] = static_cast<T>(beta[k] - mean[k] * scale[k]);
  }
  // Windows end in the channel; without one the weight is [out, in], the channel the slow index.
  const std::size_t per_channel = count / channels;
  const bool channel_first = conv.window.size == 1;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t k = channel_first ? i / per_channel : i % channels;
    folded.weights[i] = static_cast<T>(w[i] * scale[k]);
  }
  return folded;
}

}  // namespace dfengine
