// Global average pool, one image per task (see kernels/global_average_pool.h).
#include "kernels/cpu/simd/tables.h"

#include "kernels/cpu/simd/elementwise.h"

namespace dfengine::cpu::DF_ISA {
namespace {

void forward(const Context& ctx, const Shape& shape, const Stored* x, float* y) {
  const Index pixels = shape.h * shape.w, c = shape.c;
  const float inverse = static_cast<float>(1.0 / static_cast<double>(pixels));
  parallel_for(ctx.pool, shape.n, [&](Index image, int) {
    float* out = y + image * c;
    for (Index i = 0; i < c; ++i) out[i] = 0.0f;
    add_rows(x + image * pixels * c, pixels, c, out);
    for (Index i = 0; i < c; ++i) out[i] *= inverse;
  });
}

void backward(const Context& ctx, const Shape& shape, const float* dy, Write write, Stored* dx) {
  const Index pixels = shape.h * shape.w, c = shape.c;
  const float inverse = static_cast<float>(1.0 / static_cast<double>(pixels));
  parallel_for(ctx.pool, shape.n, [&](Index image, int) {
    for_row_groups(pixels, c, [&](auto group, Index row) {
      Stored* out = dx + (image * pixels + row) * c;
      for_lanes(c, [&](auto lanes, Index i) {
        constexpr int n = decltype(lanes)::value;
        const Vec<n> g = load<n>(dy + image * c + i) * inverse;
        for (int r = 0; r < decltype(group)::value; ++r) {
          Stored* p = out + r * c + i;
          store<n>(p, write == Write::Accumulate ? load<n>(p) + g : g);
        }
      });
    });
  });
}

}  // namespace

const GlobalAveragePoolTable<Stored> global_average_pool_table = {forward, backward};

}  // namespace dfengine::cpu::DF_ISA
