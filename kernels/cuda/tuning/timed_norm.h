// The norm on load with which kernels that have one are timed and verified.
#pragma once

#include "kernels/cuda/tuning/tuner.h"
#include "kernels/norm_on_load.h"

namespace dfengine::cuda {

// The vectors of its channels. Scale and shift differ, so that the activation's bound lies
// elsewhere in each channel: of equal ones, a whole channel would be zeros or have no bound.
constexpr Operand timed_norm_vectors(Index channels) {
  constexpr Index kAligned = 4;
  return {.type = StorageType::F32, .count = 2 * round_up(channels, kAligned)};
}

// What it makes of numbers in [-1, 1], at most.
constexpr double kLargestNormalised = 2;

// vectors: memory of that operand.
inline NormOnLoad timed_norm(const void* vectors, Index channels) {
  const auto* const scale = static_cast<const float*>(vectors);
  return {.scale = scale,
          .shift = scale + timed_norm_vectors(channels).count / 2,
          .activation = Activation::Relu6,
          .mean = scale};
}

}  // namespace dfengine::cuda
