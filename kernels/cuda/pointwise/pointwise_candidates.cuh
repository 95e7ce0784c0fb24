// The own kernels among which a plan chooses for each pass of a pointwise convolution.
#pragma once

#include <type_traits>
#include <vector>

#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_launch.h"
#include "kernels/cuda/pointwise/pointwise_warpgroup.h"
#include "kernels/cuda/tuning/choice.h"

namespace dfengine::cuda {

// The rule's first: one for each tile, or for float the only one.
template <class T>
std::vector<Kernel<PointwiseForwardLaunch<T>>> own_forward(const PointwiseProblem& p) {
  if constexpr (std::is_same_v<T, float>) {
    return {{.name = "own",
             .launch = [p](Stream stream, const T* x, const T* w,
                           const Epilogue<T, float>& epilogue, const NormOnLoad& norm, void*,
                           T* y) { pointwise_forward(stream, p, x, w, epilogue, y, norm); }}};
  } else {
    std::vector<Kernel<PointwiseForwardLaunch<T>>> tiles;
    const auto offer = [&](const auto& config) {
      tiles.push_back({.name = name_of(config),
                       .launch = [p, config](Stream stream, const T* x, const T* w,
                                             const Epilogue<T, float>& epilogue,
                                             const NormOnLoad& norm, void*, T* y) {
                         pointwise_forward(stream, config, p, x, w, epilogue, y, norm);
                       }});
    };
    for (const PointwiseConfig& config : candidate_configs(p.m, p.k, p.c)) offer(config);
    for (const WarpgroupConfig& config : warpgroup_configs(p)) offer(config);
    return tiles;
  }
}

template <class T>
std::vector<Kernel<PointwiseMomentsLaunch<T>>> own_moments(const PointwiseProblem& p) {
  std::vector<Kernel<PointwiseMomentsLaunch<T>>> tiles;
  const auto offer = [&](const auto& config) {
    const Index parts = row_parts(config, p.m, p.k);
    tiles.push_back({.name = name_of(config),
                     .scratch = ChannelMoments::bytes(parts, p.k),
                     .launch = [=](Stream stream, const T* x, const T* w, const NormOnLoad& norm,
                                   void* scratch, T* y) {
                       const ChannelMoments moments{parts, static_cast<float*>(scratch)};
                       pointwise_forward_moments(stream, config, p, x, w, norm, y, moments);
                       return moments;
                     }});
  };
  for (const PointwiseConfig& config :
       candidate_configs(p.m, p.k, p.c, shared_memory_limit(), Beside::Moments))
    offer(config);
  for (const WarpgroupConfig& config : warpgroup_configs(p, Beside::Moments)) offer(config);
  return tiles;
}

template <class T>
std::vector<Kernel<PointwiseGradientSumsLaunch<T>>> own_gradient_sums(const PointwiseProblem& p) {
  std::vector<Kernel<PointwiseGradientSumsLaunch<T>>> tiles;
  for (const PointwiseConfig& config :
       candidate_configs(p.m, p.c, p.k, shared_memory_limit(), Beside::GradientSums)) {
    const Index parts = row_parts(config, p.m, p.c);
    tiles.push_back({.name = name_of(config),
                     .scratch = GradientSums::bytes(parts, p.c),
                     .launch = [=](Stream stream, const T* dy, const T* w, const T* x,
                                   const NormOnLoad& norm, void* scratch, T* dx) {
                       const GradientSums sums{parts, static_cast<float*>(scratch)};
                       pointwise_gradient_sums(stream, config, p, dy, w, x, norm, dx, sums);
                       return sums;
                     }});
  }
  return tiles;
}

template <class T>
std::vector<Kernel<PointwiseBackwardDataLaunch<T>>> own_backward_data(const PointwiseProblem& p) {
  if constexpr (std::is_same_v<T, float>) {
    return {{.name = "own",
             .launch = [p](Stream stream, const T* dy, const T* w, Write write, void*, T* dx) {
               pointwise_backward_data(stream, p, dy, w, write, dx);
             }}};
  } else {
    std::vector<Kernel<PointwiseBackwardDataLaunch<T>>> tiles;
    for (const PointwiseConfig& config : candidate_configs(p.m, p.c, p.k))
      tiles.push_back({.name = name_of(config),
                       .launch = [p, config](Stream stream, const T* dy, const T* w, Write write,
                                             void*, T* dx) {
                         pointwise_backward_data(stream, config, p, dy, w, write, dx);
                       }});
    return tiles;
  }
}

template <class T>
std::vector<Kernel<PointwiseBackwardWeightLaunch<T>>> own_backward_weight(
    const PointwiseProblem& p) {
  if constexpr (std::is_same_v<T, float>) {
    return {{.name = "own",
             .scratch = pointwise_weight_scratch(p) * kFloatBytes,
             .launch = [p](Stream stream, const T* x, const T* dy, const NormOnLoad& norm,
                           void* scratch, float* dw) {
               pointwise_backward_weight(stream, p, x, dy, static_cast<float*>(scratch), dw, norm);
             }}};
  } else {
    std::vector<Kernel<PointwiseBackwardWeightLaunch<T>>> tiles;
    for (const PointwiseWeightConfig& config : candidate_weight_configs(p))
      tiles.push_back({.name = name_of(config),
                       .scratch = config.scratch(p) * kFloatBytes,
                       .launch = [p, config](Stream stream, const T* x, const T* dy,
                                             const NormOnLoad& norm, void* scratch, float* dw) {
                         pointwise_backward_weight(stream, config, p, x, dy,
                                                   static_cast<float*>(scratch), dw, norm);
                       }});
    return tiles;
  }
}

}  // namespace dfengine::cuda
