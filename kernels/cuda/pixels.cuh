// Pixels on their way to what a network reads (kernels/image_normalize.h).
#pragma once

#include "kernels/cuda/platform.cuh"
#include "kernels/image_normalize.h"

namespace dfengine::cuda {

// Of a channel that is not known when the kernel is compiled: as an index it would put the array into memory.
__device__ __forceinline__ float of_channel(const float (&values)[3], int channel) {
  return channel == 0 ? values[0] : channel == 1 ? values[1] : values[2];
}

__device__ __forceinline__ float normalized(const PixelAffine& affine, int channel, int pixel) {
  return fmaf(static_cast<float>(pixel), of_channel(affine.scale, channel),
              of_channel(affine.shift, channel));
}

}  // namespace dfengine::cuda
