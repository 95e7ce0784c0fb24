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

// How memory has the weights of each output channel: the first one's place grows by `next` from
// channel to channel, the others follow it `step` apart.
struct WeightLayout {
  Index next, step;
};
inline WeightLayout weight_layout(const Convolution& conv) {
  // Windows end in the channel; without one the weight is [out, in], the channel the slow index.
  if (conv.window.size == 1) return {conv.weights_per_output(), 1};
  return {1, conv.out};
}
// The output channel of the weight in place i.
inline std::size_t channel_of(const Convolution& conv, std::size_t i) {
  return i / at(weight_layout(conv).next) % at(conv.out);
}

// w' = w * gamma / sqrt(var + eps), bias = beta - mean * gamma / sqrt(var + eps). params: weight,
// then those of the norm.
template <class T>
FoldedWeights<T> fold(const Convolution& conv, std::span<const ConstPlace> params) {
  const auto channels = static_cast<std::size_t>(conv.out);
  const T* w = params[0].as<T>();
  FoldedWeights<T> folded{{w, w + conv.weight_count()}, {}};
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
  for (std::size_t i = 0; i < folded.weights.size(); ++i)
    folded.weights[i] = static_cast<T>(w[i] * scale[channel_of(conv, i)]);
  return folded;
}

}  // namespace dfengine
