// The contracts in bf16: which CPUs have them, and their split over threads.
#include "kernels/activation.h"
#include "kernels/base/error.h"
#include "kernels/cpu/bf16/table.h"
#include "kernels/cpu/row_split.h"
#include "kernels/global_average_pool.h"
#include "kernels/image_normalize.h"
#include "kernels/residual_add.h"

namespace dfengine::cpu {
#if DF_X86_ISAS
namespace avx512bf16 {
extern const BFloat16Table bf16_table;
}
#endif

const BFloat16Table& bf16_table() {
#if DF_X86_ISAS
  if (bf16_supported()) return avx512bf16::bf16_table;
#endif
  throw UsageError("this CPU does not compute in bf16 (AVX512-BF16); use --precision fp32");
}

template <>
void depthwise_forward(const Context& ctx, const DepthwiseProblem& p, const BFloat16* x,
                       const float* w, const Epilogue<BFloat16>& epilogue, BFloat16* y) {
  const BFloat16Table& table = bf16_table();
  for_bands(ctx, p.n * p.p, p.q * p.c,
            [&](Index begin, Index end) { table.depthwise(p, x, w, epilogue, begin, end, y); });
}

template <>
void stem_forward(const Context& ctx, const StemProblem& p, const BFloat16* x, const BFloat16* w,
                  const Epilogue<BFloat16>& epilogue, BFloat16* y) {
  const BFloat16Table& table = bf16_table();
  for_bands(ctx, p.n * p.p, p.q * p.k,
            [&](Index begin, Index end) { table.stem(p, x, w, epilogue, begin, end, y); });
}

template <>
void image_normalize(const Context& ctx, Index rows, const double mean[3], const double std_dev[3],
                     const std::uint8_t* x, BFloat16* y) {
  bf16_table().normalize(ctx, rows, mean, std_dev, x, y);
}

template <>
void activation_forward(const Context& ctx, Activation act, Index count, const BFloat16* x,
                        BFloat16* y) {
  bf16_table().activate(ctx, act, count, x, y);
}

template <>
void residual_add(const Context& ctx, Index count, const BFloat16* a, const BFloat16* b,
                  BFloat16* y) {
  bf16_table().add(ctx, count, a, b, y);
}

template <>
void global_average_pool_forward(const Context& ctx, const Shape& x_shape, const BFloat16* x,
                                 float* y) {
  bf16_table().pool(ctx, x_shape, x, y);
}

}  // namespace dfengine::cpu
