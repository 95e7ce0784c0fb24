// Problems of expansions that are not stored, with random numbers.
#pragma once

#include "tests/kernels/expand_depthwise/expand_depthwise_reference.h"

namespace dfengine::test {

struct ExpandDepthwiseCase {
  Shape x;
  Index wide = 0, stride = 1;
  Padding padding = Padding::Torch;
  Activation activation = Activation::Relu6;
  Index stem_stride = 0;  // of a stem, whose pixels x has
};

// Less than a tile, several tiles with odd edges, images between which tiles do not reach over,
// channels that fill no chunk and no fragment.
inline const ExpandDepthwiseCase kExpandDepthwiseCases[] = {
    {.x = {2, 1, 1, 8}, .wide = 24},
    {.x = {1, 17, 15, 16}, .wide = 96},
    {.x = {2, 18, 33, 24}, .wide = 40, .stride = 2},
    {.x = {1, 15, 16, 32}, .wide = 72, .stride = 2, .padding = Padding::TfSame},
    {.x = {3, 14, 5, 24}, .wide = 64, .activation = Activation::Relu},
    {.x = {1, 7, 20, 8}, .wide = 8, .stride = 2, .activation = Activation::None},
    {.x = {2, 37, 34, 3}, .wide = 32, .stem_stride = 2},
    {.x = {1, 8, 70, 3}, .wide = 40, .padding = Padding::TfSame, .stem_stride = 2},
    {.x = {2, 17, 9, 3}, .wide = 16, .activation = Activation::Relu, .stem_stride = 1},
};

// Values of which all are exact in any type, and whole where a pixel is a multiple of 64.
inline constexpr PixelAffine kPixelAffine = {.scale = {1.0f / 64, 1.0f / 64, 1.0f / 32},
                                             .shift = {-2, -1, -4}};

inline ExpandDepthwiseProblem problem(const ExpandDepthwiseCase& c) {
  if (c.stem_stride > 0) {
    const auto stem = StemProblem::make(c.x, c.wide, c.padding, c.stem_stride);
    return {.depthwise = DepthwiseProblem::make(stem.output(), c.stride, c.padding),
            .in = PixelInput::kDepth,
            .activation = c.activation,
            .pixels = PixelInput{stem, kPixelAffine}};
  }
  return {.depthwise = DepthwiseProblem::make({c.x.n, c.x.h, c.x.w, c.wide}, c.stride, c.padding),
          .in = c.x.c,
          .activation = c.activation};
}

// Calls f(tap of the stem's weights, depth in a window) for each tap and channel.
template <class F>
void for_each_stem_weight(F f) {
  for (Index tap = 0; tap < 27; ++tap) f(tap, PixelInput::depth(tap / 9, tap / 3 % 3, tap % 3));
}

// x and w of a stem: the windows of these pixels, and no weights in between.
inline void take_pixels(const ExpandDepthwiseProblem& p, std::vector<std::uint8_t> pixels,
                        ExpandDepthwiseData& d) {
  const StemProblem& stem = p.pixels->stem;
  d.x.assign(at(p.input().count()), 0.0);
  for (Index row = 0; row < p.rows(); ++row)
    for_each_stem_weight([&](Index tap, Index depth) {
      const Index n = row / (stem.p * stem.q), c = tap % 3;
      const Index h = row / stem.q % stem.p * stem.stride + tap / 9 - stem.before_h;
      const Index w = row % stem.q * stem.stride + tap / 3 % 3 - stem.before_w;
      if (h < 0 || h >= stem.h || w < 0 || w >= stem.w) return;
      const std::uint8_t pixel = pixels[at(((n * stem.h + h) * stem.w + w) * 3 + c)];
      d.x[at(row * p.in + depth)] =
          static_cast<double>(pixel) * static_cast<double>(p.pixels->affine.scale[c]) +
          static_cast<double>(p.pixels->affine.shift[c]);
    });
  Doubles weights(d.w.size(), 0.0);
  for (Index k = 0; k < p.wide(); ++k)
    for_each_stem_weight(
        [&](Index, Index depth) { weights[at(k * p.in + depth)] = d.w[at(k * p.in + depth)]; });
  d.w = weights;
  d.pixels = std::move(pixels);
}

// [wide, in] in the order of w: of a stem [27, wide].
inline Doubles in_order_of_weights(const ExpandDepthwiseProblem& p, const Doubles& of_windows) {
  if (!p.pixels) return of_windows;
  Doubles weights(at(27 * p.wide()));
  for (Index k = 0; k < p.wide(); ++k)
    for_each_stem_weight([&](Index tap, Index depth) {
      weights[at(tap * p.wide() + k)] = of_windows[at(k * p.in + depth)];
    });
  return weights;
}

inline Index picture_values(const ExpandDepthwiseProblem& p) {
  return p.pixels->stem.n * p.pixels->stem.h * p.pixels->stem.w * 3;
}

inline ExpandDepthwiseData random_data(const ExpandDepthwiseProblem& p) {
  const Index c = p.wide();
  ExpandDepthwiseData d{.x = random_uniform<double>(p.input().count(), 1, -1, 2),
                        .w = random_uniform<double>(c * p.in, 2),
                        .taps = random_uniform<double>(9 * c, 3),
                        .gamma = random_uniform<double>(c, 4, -1, 2),
                        .beta = random_uniform<double>(c, 5, -1, 4),
                        .dy = random_uniform<double>(p.depthwise.output().count(), 6)};
  if (p.pixels) take_pixels(p, random_integers<std::uint8_t>(picture_values(p), 1, 0, 255), d);
  return d;
}

}  // namespace dfengine::test
