// What one call of the float matrix product computes.
#pragma once

#include "kernels/base/index.h"

namespace dfengine::cpu {

// Y [rows, columns] = clamp(A * B + bias, low, high) + residual.
struct MatrixBlock {
  Index rows = 0;
  Index columns = 0;
  Index depth = 0;
  const float* a = nullptr;
  Index a_stride = 0;             // see MatrixTable
  const float* packed = nullptr;  // B, padded columns
  float* y = nullptr;
  Index y_stride = 0;               // between rows, of residual too
  const float* bias = nullptr;      // [columns] or null
  const float* residual = nullptr;  // [rows, columns] or null; may be y
  // Optional: the unpacked B [depth, columns] of a product that follows, fetched into the cache
  // meanwhile. Only read ahead of time: it may lie outside the buffer.
  const float* next = nullptr;
  Index next_stride = 0;
  float low = -__builtin_inff();
  float high = __builtin_inff();
};

}  // namespace dfengine::cpu
