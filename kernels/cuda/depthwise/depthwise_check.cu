#include "kernels/cuda/depthwise/depthwise_check.h"

#include "kernels/base/error.h"
#include "kernels/cuda/depthwise/depthwise_gradient.h"
#include "kernels/cuda/depthwise/depthwise_tiles.h"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/tuning/check_data.h"

namespace dfengine::cuda {
namespace {

using namespace check;

constexpr Index kTaps = DepthwiseProblem::kTaps;

// No sum is above 256, up to which a bfloat16 has all whole numbers, or above 2^24.
template <class T>
struct Given {
  Stream stream;
  DepthwiseProblem p;
  Array<T> x, y, dy, taps;
  Array<float> scale, shift, mean, factors;

  Given(Stream on, const DepthwiseProblem& problem)
      : stream(on),
        p(problem),
        x(on, numbers(p.input().count(), 1, -1, 1, true)),
        y(on, numbers(p.output().count(), 2, -2, 2, true)),
        dy(on, numbers(p.output().count(), 3, -2, 2, true)),
        taps(on, numbers(kTaps * p.c, 4, -1, 1, true)),
        scale(on, numbers(p.c, 5, 1, 4, true)),
        shift(on, numbers(p.c, 6, -2, 5, true)),
        mean(on, numbers(p.c, 7, -1, 1, true)),
        factors(on, numbers(3 * p.c, 8, -1, 1, true)) {}
};

struct Gradients {
  Values dx, dw, sums;
  bool operator==(const Gradients&) const = default;
};

template <class T, class Backward>
Gradients gradients(const Given<T>& d, bool on_load, Index parts, Index scratch_floats,
                    Backward backward) {
  const Index c = d.p.c;
  const Array<T> dx(d.stream, d.p.input().count());
  const Array<float> dw(d.stream, kTaps * c), scratch(d.stream, scratch_floats),
      in_parts(d.stream, parts * 2 * c), sums(d.stream, 2 * c);
  const NormOnLoad norm{.scale = d.scale.data(),
                        .shift = d.shift.data(),
                        .activation = Activation::Relu6,
                        .mean = d.mean.data()};
  backward(d.stream, d.p, d.x.data(), on_load ? d.y.data() : nullptr, d.dy.data(), d.taps.data(),
           norm, GradientOnLoad{on_load ? d.factors.data() : nullptr}, scratch.data(), dw.data(),
           dx.data(), GradientSums{parts, in_parts.data()});
  ordered_sum(d.stream, parts, 2 * c, parts, in_parts.data(), sums.data());
  return {dx.values(), dw.values(), sums.values()};
}

}  // namespace

template <class T>
void check_depthwise_tiles(const DepthwiseProblem& p) {
  const OwnedStream stream = make_stream();
  // More than a tile, and no multiple of one.
  const auto small = DepthwiseProblem::make({2, 18, 21, p.c}, p.stride, p.padding);
  const Given<T> given(stream.get(), small);
  for (const bool on_load : {false, true}) {
    const Index parts = depthwise_tiles_gradient_parts(small);
    const Gradients got =
        gradients(given, on_load, parts, parts * kTaps * p.c, depthwise_tiles_backward<T>);
    const Gradients want = gradients(given, on_load, depthwise_gradient_parts(small),
                                     depthwise_gradient_scratch(small), depthwise_backward_sums<T>);
    if (got == want) continue;
    throw DeviceError(std::string("depthwise gradients by tiles differ from those by strips, in ") +
                      (got.dx != want.dx   ? "the input's gradient"
                       : got.dw != want.dw ? "the taps' gradient"
                                           : "the sums of its batch norm"));
  }
}

#define DF_INSTANTIATE(T) template void check_depthwise_tiles<T>(const DepthwiseProblem&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
