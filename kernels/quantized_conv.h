// Convolutions of 8-bit integers. Activations are uint8, weights int8, and their products are
// summed exactly in int32, so the bits are the same on every machine and for any number of threads:
//   y = clamp(round(scale[k] * (sum + bias[k])) + zero, 0, 255)
// and where a residual is added, what is rounded is
//   scale[k] * (sum + bias[k]) + residual_scale * (residual - residual_zero),
// each operation rounded to float, the last to the nearest integer, ties to even.
//
// Shapes       as in pointwise_conv.h, depthwise_conv.h and stem_conv.h; every channel count but the
//              stem's input is a multiple of 8.
// Zero points  The caller folds that of x into the bias, as zero padding knows none: a depthwise x
//              has zero point 0, and the stem is padded with pixels that the caller names.
// Range        |scale[k] * (sum + bias[k])| stays below 2^30 for every x (largest_sum), so that it
//              can be rounded to an integer.
// Aliasing     y must not overlap x. A residual may be y.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/depthwise_conv.h"
#include "kernels/pointwise_conv.h"
#include "kernels/stem_conv.h"

namespace dfengine {

// What becomes of the sums. The pointers are to packed values (below).
struct QuantizedEpilogue {
  const std::int32_t* bias = nullptr;
  const float* scale = nullptr;
  std::int32_t zero = 0;
  const std::uint8_t* residual = nullptr;  // of y's shape; null: none
  std::int32_t residual_zero = 0;
  float residual_scale = 0;
};

// What a convolution is given, in the order of memory that its float form has: w [K, C] of a
// pointwise one, [3, 3, C] of a depthwise one, [3, 3, 3, K] of the stem.
struct QuantizedWeights {
  const std::int8_t* w = nullptr;
  const std::int32_t* bias = nullptr;  // [K]
  const float* scale = nullptr;        // [K]
};

namespace cpu {

// The largest |sum + bias| that any x can give in one channel: of `count` weights, `step` apart.
std::int64_t largest_sum(const std::int8_t* w, Index count, Index step, std::int32_t bias);

// Packed: weights, then bias, then scale; aligned to 64 bytes.
Index quantized_pointwise_bytes(const PointwiseProblem& p);
Index quantized_depthwise_bytes(const DepthwiseProblem& p);
Index quantized_stem_bytes(const StemProblem& p);
void quantized_pointwise_pack(const PointwiseProblem& p, const QuantizedWeights& weights,
                              void* packed);
void quantized_depthwise_pack(const DepthwiseProblem& p, const QuantizedWeights& weights,
                              void* packed);
void quantized_stem_pack(const StemProblem& p, const QuantizedWeights& weights, void* packed);

// The epilogue's bias and scale are those of `packed`, whatever it holds.
void quantized_pointwise(const Context& ctx, const PointwiseProblem& p, const std::uint8_t* x,
                         const void* packed, const QuantizedEpilogue& epilogue, std::uint8_t* y);
void quantized_depthwise(const Context& ctx, const DepthwiseProblem& p, const std::uint8_t* x,
                         const void* packed, const QuantizedEpilogue& epilogue, std::uint8_t* y);
// x is the picture [N, H, W, 3]; outside of it lie pixels of the colour `outside`. scratch has
// quantized_stem_scratch(p) bytes.
Index quantized_stem_scratch(const StemProblem& p);
void quantized_stem(const Context& ctx, const StemProblem& p, const std::uint8_t* x,
                    const std::array<std::uint8_t, 3>& outside, const void* packed,
                    const QuantizedEpilogue& epilogue, void* scratch, std::uint8_t* y);

// y[n][c] = scale / (H * W) * the sum of x[n][h][w][c]: [N, H, W, C] to [N, C].
void quantized_average_pool(const Context& ctx, const Shape& x_shape, const std::uint8_t* x,
                            float scale, float* y);

}  // namespace cpu
}  // namespace dfengine
