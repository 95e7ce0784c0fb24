#include "kernels/cuda/expand_depthwise/expand_check.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/tolerance.h"
#include "kernels/batch_norm.h"
#include "kernels/cuda/depthwise/depthwise_gradient.h"
#include "kernels/cuda/tuning/check_data.h"
#include "kernels/pointwise_conv.h"
#include "kernels/stem_conv.h"

namespace dfengine::cuda {
namespace {

using namespace check;

// Values of x, or as many pixels of which whole ones become whole numbers.
constexpr float kPixelScale = 1.0f / 64;
Values pictures(const PixelInput& of, bool whole) {
  Values values = numbers(of.stem.n * of.stem.h * of.stem.w * 3, 1, 0, whole ? 3 : 255, true);
  for (double& v : values) v *= whole ? 1 / kPixelScale : 1;
  return values;
}

// What both ways start from.
template <class T>
struct Given {
  Stream stream;
  ExpandDepthwiseProblem p;
  Array<T> x;
  Array<std::uint8_t> pixels;
  Array<T> w, taps, dy;
  Array<float> gamma, beta, zeros, ones;

  Given(Stream on, const ExpandDepthwiseProblem& problem, bool whole)
      : stream(on),
        p(problem),
        x(on, p.pixels ? Values(1) : numbers(p.input().count(), 1, -1, 1, whole)),
        pixels(on, p.pixels ? pictures(*p.pixels, whole) : Values(1)),
        w(on, numbers(weights(), 2, -1, 1, whole)),
        taps(on, numbers(9 * p.wide(), 3, -1, 1, whole)),
        dy(on, numbers(p.depthwise.output().count(), 4, -2, 2, whole)),
        gamma(on, numbers(p.wide(), 5, 1, 2, whole)),
        beta(on, numbers(p.wide(), 6, -2, 5, whole)),
        zeros(on, Values(at(p.wide()), 0.0)),
        ones(on, Values(at(p.wide()), 1.0)) {}

  const void* input() const {
    return p.pixels ? static_cast<const void*>(pixels.data()) : static_cast<const void*>(x.data());
  }
  Index weights() const { return p.wide() * (p.pixels ? kStemTaps : p.in); }

  static constexpr Index kStemTaps = 27;
};

struct Named {
  std::string name;
  Values values;
};
using Results = std::vector<Named>;

// The first of R [wide, in], in the order of the weights.
Values as_weights(const ExpandDepthwiseProblem& p, const Values& products) {
  const Index wide = p.wide();
  if (!p.pixels) return {products.begin(), products.begin() + wide * p.in};
  Values weights;
  for (Index tap = 0; tap < 27; ++tap)
    for (Index k = 0; k < wide; ++k)
      weights.push_back(products[at(k * p.in + PixelInput::depth(tap / 9, tap / 3 % 3, tap % 3))]);
  return weights;
}

// What a part of a network is made of, in both ways, when its norm is given: y, and what one pass
// over its gradient makes.
template <class T>
Results whole_recomputed(const Given<T>& d) {
  const ExpandDepthwiseProblem& p = d.p;
  const Index parts = expand_depthwise_parts(p), c = p.wide();
  Values norm(at(expand_depthwise_saved(p)), 0.0);
  std::fill_n(norm.begin(), c, 1.0);
  std::ranges::copy(d.beta.values(), norm.begin() + c);
  const Array<float> saved(d.stream, norm), moments(d.stream, parts * ChannelMoments::pitch(c)),
      scratch(d.stream, expand_depthwise_scratch(p)), sums(d.stream, expand_depthwise_sums(p)),
      dtaps(d.stream, 9 * c);
  const Array<T> y(d.stream, p.depthwise.output().count()), projected(d.stream, p.input().count());
  expand_depthwise_forward<T>(d.stream, p, d.input(), d.w.data(), d.taps.data(), saved.data(),
                              y.data(), {parts, moments.data()});
  expand_depthwise_backward<T>(d.stream, p, d.input(), y.data(), d.dy.data(), d.w.data(),
                               d.taps.data(), saved.data(), {}, scratch.data(), sums.data(),
                               dtaps.data(), p.pixels ? nullptr : projected.data());
  Results all = {{"y", y.values()},
                 {"the gradient of its taps", dtaps.values()},
                 {"what its weight's gradient is made of", as_weights(p, sums.values())}};
  if (!p.pixels) all.push_back({"what its input's gradient is made of", projected.values()});
  return all;
}

// e, and g with the gradients of what stands between them, stored. norm: of e, on load.
template <class T>
struct Stored {
  PointwiseProblem expand;
  Array<T> e, y, g;
  Array<float> dtaps;

  Stored(const Given<T>& d)  // NOLINT: of what is given
      : expand(PointwiseProblem::make(d.p.rows(), d.p.in, d.p.wide())),
        e(d.stream, d.p.depthwise.input().count()),
        y(d.stream, d.p.depthwise.output().count()),
        g(d.stream, d.p.depthwise.input().count()),
        dtaps(d.stream, 9 * d.p.wide()) {
    if (d.p.pixels)
      stem_forward<T>(d.stream, d.p.pixels->stem, pixels(d), d.w.data(), {}, e.data());
    else
      pointwise_forward<T>(d.stream, expand, d.x.data(), d.w.data(), {}, e.data());
  }
  static StemInput<T> pixels(const Given<T>& d) { return {d.pixels.data(), d.p.pixels->affine}; }
  void filter(const Given<T>& d, const NormOnLoad& norm) {
    const DepthwiseProblem& p = d.p.depthwise;
    depthwise_forward<T>(d.stream, p, e.data(), d.taps.data(), {}, y.data(), norm);
    const Index parts = depthwise_gradient_parts(p);
    const Array<float> scratch(d.stream, depthwise_gradient_scratch(p)),
        sums(d.stream, GradientSums::bytes(parts, p.c) / kFloatBytes);
    depthwise_backward_sums<T>(d.stream, p, e.data(), y.data(), d.dy.data(), d.taps.data(), norm,
                               {}, scratch.data(), dtaps.data(), g.data(), {parts, sums.data()});
    synchronize(d.stream);
  }
  // Of the expansion, where `of` is its result's gradient.
  Values weight_gradient(const Given<T>& d, const Array<T>& of) const {
    const Array<float> dw(d.stream, d.weights());
    if (d.p.pixels) {
      const StemProblem& stem = d.p.pixels->stem;
      const Array<float> scratch(d.stream, stem_weight_scratch(stem));
      stem_backward_weight<T>(d.stream, stem, pixels(d), of.data(), scratch.data(), dw.data());
      return dw.values();
    }
    const Array<float> scratch(d.stream, pointwise_weight_scratch(expand));
    pointwise_backward_weight<T>(d.stream, expand, d.x.data(), of.data(), scratch.data(),
                                 dw.data());
    return dw.values();
  }
  Values input_gradient(const Given<T>& d, const Array<T>& of) const {
    const Array<T> dx(d.stream, d.p.input().count());
    pointwise_backward_data<T>(d.stream, expand, of.data(), d.w.data(), Write::Overwrite,
                               dx.data());
    return dx.values();
  }
};

template <class T>
Results whole_stored(const Given<T>& d) {
  Stored<T> made(d);
  made.filter(d, {.scale = d.ones.data(),
                  .shift = d.beta.data(),
                  .activation = d.p.activation,
                  .mean = d.zeros.data()});
  Results all = {
      {"", made.y.values()}, {"", made.dtaps.values()}, {"", made.weight_gradient(d, made.g)}};
  if (!d.p.pixels) all.push_back({"", made.input_gradient(d, made.g)});
  return all;
}

// With the batch's statistics, all gradients.
template <class T>
Results recomputed(const Given<T>& d) {
  const ExpandDepthwiseProblem& p = d.p;
  const Index c = p.wide();
  const Array<float> saved(d.stream, expand_depthwise_saved(p)), next_mean(d.stream, c),
      next_var(d.stream, c), scratch(d.stream, expand_depthwise_scratch(p)),
      sums(d.stream, expand_depthwise_sums(p)), dtaps(d.stream, 9 * c), dw(d.stream, d.weights()),
      dgamma(d.stream, c), dbeta(d.stream, c), rest(d.stream, expand_gradients_scratch(p)),
      of_statistics(d.stream, expand_statistics_scratch(p) / kFloatBytes);
  const Array<T> projected(d.stream, p.input().count()), dx(d.stream, p.input().count());
  T* const narrow = p.pixels ? nullptr : projected.data();
  expand_statistics<T>(d.stream, p, d.input(),
                       {d.w.data(), d.gamma.data(), d.beta.data(), d.zeros.data(), d.ones.data(),
                        next_mean.data(), next_var.data()},
                       of_statistics.data(), saved.data());
  expand_depthwise_backward<T>(d.stream, p, d.input(), nullptr, d.dy.data(), d.w.data(),
                               d.taps.data(), saved.data(), {}, scratch.data(), sums.data(),
                               dtaps.data(), narrow);
  expand_gradients<T>(d.stream, p, d.input(), d.w.data(), saved.data(), sums.data(), rest.data(),
                      dw.data(), dgamma.data(), dbeta.data(), narrow, Write::Overwrite,
                      p.pixels ? nullptr : dx.data());
  Results all = {{"the mean", next_mean.values()},
                 {"the variance", next_var.values()},
                 {"the weight's gradient", dw.values()},
                 {"the norm's scale's gradient", dgamma.values()},
                 {"the norm's shift's gradient", dbeta.values()}};
  if (!p.pixels) all.push_back({"the input's gradient", dx.values()});
  return all;
}

template <class T>
Results stored_gradients(const Given<T>& d) {
  const Index c = d.p.wide();
  Stored<T> made(d);
  const auto norm = BatchNormProblem::make(d.p.rows(), c, d.p.eps, d.p.momentum, d.p.activation);
  const Array<float> next_mean(d.stream, c), next_var(d.stream, c), mean(d.stream, c),
      rstd(d.stream, c), on_load(d.stream, 3 * c), scratch(d.stream, batch_norm_scratch(norm)),
      dgamma(d.stream, c), dbeta(d.stream, c);
  batch_norm_statistics<T>(d.stream, norm, made.e.data(), d.gamma.data(), d.beta.data(),
                           d.zeros.data(), d.ones.data(), next_mean.data(), next_var.data(),
                           scratch.data(), mean.data(), rstd.data(), on_load.data());
  made.filter(d, {.scale = on_load.data(),
                  .shift = on_load.data() + c,
                  .activation = d.p.activation,
                  .mean = mean.data()});
  const Array<T> de(d.stream, d.p.depthwise.input().count());
  batch_norm_backward<T>(d.stream, norm, made.e.data(), made.g.data(), d.gamma.data(),
                         d.beta.data(), mean.data(), rstd.data(), scratch.data(), dgamma.data(),
                         dbeta.data(), de.data());
  Results all = {{"", next_mean.values()},
                 {"", next_var.values()},
                 {"", made.weight_gradient(d, de)},
                 {"", dgamma.values()},
                 {"", dbeta.values()}};
  if (!d.p.pixels) all.push_back({"", made.input_gradient(d, de)});
  return all;
}

// The Euclidean distance, as a part of the length of `want`.
double distance(const Values& got, const Values& want) {
  double difference = 0, length = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    length += want[i] * want[i];
  }
  return std::sqrt(difference / length);
}

// allowed: 0, or such a part.
void require_close(const Results& got, const Results& want, double allowed) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    const bool close = allowed == 0 ? got[i].values == want[i].values
                                    : distance(got[i].values, want[i].values) <= allowed;
    if (!close)
      throw DeviceError("an expansion that is not stored differs from one that is, in " +
                        got[i].name + " by " +
                        std::to_string(100 * distance(got[i].values, want[i].values)) + " %");
  }
}

}  // namespace

template <class T>
void check_expand_depthwise(Stream stream, const ExpandDepthwiseProblem& p) {
  constexpr Index kPictures = 2, kHeight = 18, kWidth = 21;
  const DepthwiseProblem& d = p.depthwise;
  ExpandDepthwiseProblem small = p;
  Shape wide{kPictures, kHeight, kWidth, d.c};
  if (p.pixels) {
    const StemProblem& of = p.pixels->stem;
    const Shape picture{kPictures, of.stride * kHeight, of.stride * kWidth, 3};
    const auto stem = StemProblem::make(picture, d.c, of.padding, of.stride);
    PixelAffine affine;
    std::ranges::fill(affine.scale, kPixelScale);
    std::ranges::fill(affine.shift, -2.0f);
    small.pixels = {.stem = stem, .affine = affine};
    wide = stem.output();
  }
  small.depthwise = DepthwiseProblem::make(wide, d.stride, d.padding);
  const Given<T> whole(stream, small, true);
  require_close(whole_recomputed(whole), whole_stored(whole), 0);
  // Without an activation, behind which a gradient is all or nothing and rounding may tell which.
  // What is stored between is rounded a few times, by errors of random sign.
  small.activation = Activation::None;
  const Given<T> any(stream, small, false);
  require_close(recomputed(any), stored_gradients(any), kRoundingSafety * unit_roundoff<T>());
}

#define DF_INSTANTIATE(T) \
  template void check_expand_depthwise<T>(Stream, const ExpandDepthwiseProblem&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
