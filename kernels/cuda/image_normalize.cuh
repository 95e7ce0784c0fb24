// CUDA side of kernels/image_normalize.h.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/shape.h"

namespace dfengine::cuda {

// x [rows, 3] uint8 RGB on the device, 4-byte aligned; y [rows, 3] half on the device, 8-byte
// aligned. mean and std_dev are read on the host before the call returns; they are in units of
// x / 255, std_dev > 0. Arithmetic in float, rounded once. Works on `stream` and does not wait.
// Throws DeviceError when the launch fails.
void image_normalize(cudaStream_t stream, Index rows, const double mean[3], const double std_dev[3],
                     const std::uint8_t* x, __half* y);

}  // namespace dfengine::cuda
