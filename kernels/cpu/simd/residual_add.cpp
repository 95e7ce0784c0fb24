// Addition of two arrays and its gradient (see kernels/residual_add.h).
#include "kernels/cpu/simd/tables.h"

#include "kernels/cpu/simd/elementwise.h"

namespace dfengine::cpu::DF_ISA {
namespace {

void forward(const Context& ctx, Index count, const Stored* a, const Stored* b, Stored* y) {
  for_tasks(ctx, count, [&](Index begin, Index length) {
    for_lanes(length, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      store<n>(y + begin + i, load<n>(a + begin + i) + load<n>(b + begin + i));
    });
  });
}

void backward(const Context& ctx, Index count, const Stored* dy, Write write, Stored* dx) {
  if (write == Write::Accumulate) return forward(ctx, count, dx, dy, dx);
  for_tasks(ctx, count, [&](Index begin, Index length) {
    for_lanes(length, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      store<n>(dx + begin + i, load<n>(dy + begin + i));
    });
  });
}

}  // namespace

const ResidualAddTable<Stored> residual_add_table = {forward, backward};

}  // namespace dfengine::cpu::DF_ISA
