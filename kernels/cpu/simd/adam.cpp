// Adam and AdamW on floats, one pass over the parameters (see kernels/adam.h).
#include "kernels/cpu/simd/tables.h"

#if DF_X86_ISAS
#include <immintrin.h>
#endif

#include "kernels/cpu/simd/elementwise.h"

namespace dfengine::cpu::DF_ISA {
namespace {

// Square root by element, correctly rounded at every width.
template <int N>
DF_INLINE Vec<N> vsqrt(Vec<N> x) {
#if DF_ISA_avx512
  if constexpr (N == 16) return (Vec<N>)_mm512_maskz_sqrt_ps(0xFFFF, (__m512)x);
#endif
#if DF_ISA_avx512 || DF_ISA_avx2
  if constexpr (N == 8) return (Vec<N>)_mm256_sqrt_ps((__m256)x);
#endif
#if DF_X86_ISAS
  if constexpr (N == 4) return (Vec<N>)_mm_sqrt_ps((__m128)x);
#endif
  Vec<N> y;
  for (int i = 0; i < N; ++i) y[i] = __builtin_sqrtf(x[i]);
  return y;
}

// The update's constants, computed once in double:
// w -= step * m / (sqrt(v) * root + eps) with step = lr / (1 - b1^t), root = 1 / sqrt(1 - b2^t).
struct Constants {
  float keep, gradient_decay, beta1, rest1, beta2, rest2, step, root, eps;
};

Constants constants(const AdamProblem& p) {
  const double t = static_cast<double>(p.step);
  const double correction1 = 1.0 - __builtin_pow(p.beta1, t);
  const double correction2 = 1.0 - __builtin_pow(p.beta2, t);
  const auto narrow = [](double x) { return static_cast<float>(x); };
  return {.keep = narrow(p.decoupled ? 1.0 - p.lr * p.weight_decay : 1.0),
          .gradient_decay = narrow(p.decoupled ? 0.0 : p.weight_decay),
          .beta1 = narrow(p.beta1),
          .rest1 = narrow(1.0 - p.beta1),
          .beta2 = narrow(p.beta2),
          .rest2 = narrow(1.0 - p.beta2),
          .step = narrow(p.lr / correction1),
          .root = narrow(1.0 / __builtin_sqrt(correction2)),
          .eps = narrow(p.eps)};
}

void update(const Context& ctx, const AdamProblem& p, Index count, const float* grad, float* w,
            float* m, float* v) {
  const Constants k = constants(p);
  for_tasks(ctx, count, [&](Index begin, Index length) {
    for_lanes(length, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      const Index at = begin + i;
      const Vec<n> old = load<n>(w + at);
      const Vec<n> g = load<n>(grad + at) + old * k.gradient_decay;
      const Vec<n> m1 = load<n>(m + at) * k.beta1 + g * k.rest1;
      const Vec<n> v1 = load<n>(v + at) * k.beta2 + g * g * k.rest2;
      store<n>(m + at, m1);
      store<n>(v + at, v1);
      store<n>(w + at, old * k.keep - m1 * k.step / (vsqrt<n>(v1) * k.root + k.eps));
    });
  });
}

}  // namespace

const AdamTable adam_table = {update};

}  // namespace dfengine::cpu::DF_ISA
