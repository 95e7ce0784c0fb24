// ReLU and ReLU6 (see kernels/activation.h).
#include "kernels/cpu/simd/tables.h"

#include "kernels/cpu/simd/elementwise.h"

namespace dfengine::cpu::DF_ISA {
namespace {

void forward(const Context& ctx, Activation act, Index count, const Stored* x, Stored* y) {
  with_activation(act, [&](auto tag) {
    for_tasks(ctx, count, [&](Index begin, Index length) {
      for_lanes(length, [&](auto lanes, Index i) {
        constexpr int n = decltype(lanes)::value;
        store<n>(y + begin + i, activate<decltype(tag)::value, n>(load<n>(x + begin + i)));
      });
    });
  });
}

void backward(const Context& ctx, Activation act, Index count, const Stored* y, const Stored* dy,
              Write write, Stored* dx) {
  with_activation(act, [&](auto tag) {
    for_tasks(ctx, count, [&](Index begin, Index length) {
      for_lanes(length, [&](auto lanes, Index i) {
        constexpr int n = decltype(lanes)::value;
        const Index at = begin + i;
        Vec<n> g = activation_gradient<decltype(tag)::value, n>(load<n>(y + at), load<n>(dy + at));
        if (write == Write::Accumulate) g += load<n>(dx + at);
        store<n>(dx + at, g);
      });
    });
  });
}

}  // namespace

const ActivationTable<Stored> activation_table = {forward, backward};

}  // namespace dfengine::cpu::DF_ISA
