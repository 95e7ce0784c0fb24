// The product and the depthwise window are the float kernels' templates, here for bf16; the rest is
// memory-bound.
#include "kernels/cpu/bf16/table.h"

#include "kernels/cpu/bf16/stem.h"
#include "kernels/cpu/simd/depthwise_slide.h"
#include "kernels/cpu/simd/elementwise.h"
#include "kernels/cpu/simd/matrix_tiles.h"

namespace dfengine::cpu::DF_ISA {
namespace {

void normalize(const Context& ctx, Index rows, const double mean[3], const double std_dev[3],
               const std::uint8_t* x, BFloat16* y) {
  constexpr Index kPeriod = 3 * kLanes;
  static_assert(kTaskElements % kPeriod == 0, "every task starts at colour 0");
  float scale[kPeriod], shift[kPeriod];
  for (Index i = 0; i < kPeriod; ++i) {
    scale[i] = static_cast<float>(1.0 / (255.0 * std_dev[i % 3]));
    shift[i] = static_cast<float>(-mean[i % 3] / std_dev[i % 3]);
  }
  for_tasks(ctx, rows * 3, [&](Index begin, Index length) {
    float values[kPeriod];
    for (Index i = 0; i < length; i += kPeriod) {
      const Index count = least(kPeriod, length - i);
      for (Index j = 0; j < count; ++j)
        values[j] = static_cast<float>(x[begin + i + j]) * scale[j] + shift[j];
      for_lanes(count, [&](auto lanes, Index j) {
        constexpr int n = decltype(lanes)::value;
        store<n>(y + begin + i + j, load<n>(values + j));
      });
    }
  });
}

void activate_all(const Context& ctx, Activation activation, Index count, const BFloat16* x,
                  BFloat16* y) {
  for_tasks(ctx, count, [&](Index begin, Index length) {
    for_lanes(length, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      Vec<n> v = load<n>(x + begin + i);
      if (activation != Activation::None) v = activate<Activation::Relu, n>(v);
      if (activation == Activation::Relu6) v = activate<Activation::Relu6, n>(v);
      store<n>(y + begin + i, v);
    });
  });
}

void add(const Context& ctx, Index count, const BFloat16* a, const BFloat16* b, BFloat16* y) {
  for_tasks(ctx, count, [&](Index begin, Index length) {
    for_lanes(length, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      store<n>(y + begin + i, load<n>(a + begin + i) + load<n>(b + begin + i));
    });
  });
}

void pool(const Context& ctx, const Shape& shape, const BFloat16* x, float* y) {
  const Index pixels = shape.h * shape.w, c = shape.c;
  const float inverse = static_cast<float>(1.0 / static_cast<double>(pixels));
  parallel_for(ctx.pool, shape.n, [&](Index image, int) {
    for_lanes(c, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      Vec<n> sum{};
      for (Index row = 0; row < pixels; ++row) sum += load<n>(x + (image * pixels + row) * c + i);
      store<n>(y + image * c + i, sum * inverse);
    });
  });
}

}  // namespace

extern const BFloat16Table bf16_table = {.multiply = &multiply_block<BFloat16, Order::RowMajor>,
                                         .depthwise = &forward<BFloat16>,
                                         .stem = &stem_rows,
                                         .normalize = &normalize,
                                         .activate = &activate_all,
                                         .add = &add,
                                         .pool = &pool};

}  // namespace dfengine::cpu::DF_ISA
