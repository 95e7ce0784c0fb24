// Moments of a channel: how many values, their mean, and the sum of squares around it.
#pragma once

#include "kernels/cuda/platform.cuh"

namespace dfengine::cuda {

struct Moments {
  float n, mean, m2;
};

// Chan, Golub & LeVeque 1979. What has no values may hold anything.
__device__ __forceinline__ Moments merge(const Moments& a, const Moments& b) {
  if (b.n == 0.0f) return a;
  if (a.n == 0.0f) return b;
  const float n = a.n + b.n;
  const float delta = b.mean - a.mean;
  const float share = b.n / n;
  return {n, fmaf(delta, share, a.mean), a.m2 + b.m2 + delta * delta * a.n * share};
}

}  // namespace dfengine::cuda
