// The kernels that keep activations and weights of products in bf16 and sums in float, on CPUs with AVX512-BF16.
// They are for inference; channel counts are multiples of 8.
#pragma once

#include "kernels/cpu/context.h"
#include "kernels/cpu/simd/matrix.h"
#include "kernels/depthwise_conv.h"
#include "kernels/stem_conv.h"

namespace dfengine::cpu {

struct BFloat16Table {
  // A's rows hold pairs of neighbouring channels.
  void (*multiply)(const MatrixBlock<BFloat16>& block);
  // Output rows [begin, end), counted over the batch.
  void (*depthwise)(const DepthwiseProblem& p, const BFloat16* x, const float* w,
                    const Epilogue<BFloat16>& epilogue, Index begin, Index end, BFloat16* y);
  void (*stem)(const StemProblem& p, const BFloat16* x, const BFloat16* w,
               const Epilogue<BFloat16>& epilogue, Index begin, Index end, BFloat16* y);
  void (*normalize)(const Context& ctx, Index rows, const double mean[3], const double std_dev[3],
                    const std::uint8_t* x, BFloat16* y);
  void (*activate)(const Context& ctx, Activation activation, Index count, const BFloat16* x,
                   BFloat16* y);
  void (*add)(const Context& ctx, Index count, const BFloat16* a, const BFloat16* b, BFloat16* y);
  void (*pool)(const Context& ctx, const Shape& shape, const BFloat16* x, float* y);
};

// Throws UsageError where bf16_supported() (kernels/cpu/isa.h) is false.
const BFloat16Table& bf16_table();

}  // namespace dfengine::cpu
