// Problems of expansions that are not stored, with random numbers.
#pragma once

#include "tests/kernels/expand_depthwise/expand_depthwise_reference.h"

namespace dfengine::test {

struct ExpandDepthwiseCase {
  Shape x;
  Index wide = 0, stride = 1;
  Padding padding = Padding::Torch;
  Activation activation = Activation::Relu6;
};

// Less than a tile, several tiles with odd edges, images between which tiles do not reach over, channels
// that fill no chunk and no fragment.
inline const ExpandDepthwiseCase kExpandDepthwiseCases[] = {
    {.x = {2, 1, 1, 8}, .wide = 24},
    {.x = {1, 17, 15, 16}, .wide = 96},
    {.x = {2, 18, 33, 24}, .wide = 40, .stride = 2},
    {.x = {1, 15, 16, 32}, .wide = 72, .stride = 2, .padding = Padding::TfSame},
    {.x = {3, 14, 5, 24}, .wide = 64, .activation = Activation::Relu},
    {.x = {1, 7, 20, 8}, .wide = 8, .stride = 2, .activation = Activation::None},
};

inline ExpandDepthwiseProblem problem(const ExpandDepthwiseCase& c) {
  return {.depthwise = DepthwiseProblem::make({c.x.n, c.x.h, c.x.w, c.wide}, c.stride, c.padding),
          .in = c.x.c,
          .activation = c.activation};
}

inline ExpandDepthwiseData random_data(const ExpandDepthwiseProblem& p) {
  const Index c = p.wide();
  return {.x = random_uniform<double>(p.input().count(), 1, -1, 2),
          .w = random_uniform<double>(c * p.in, 2),
          .taps = random_uniform<double>(9 * c, 3),
          .gamma = random_uniform<double>(c, 4, -1, 2),
          .beta = random_uniform<double>(c, 5, -1, 4),
          .dy = random_uniform<double>(p.depthwise.output().count(), 6)};
}

}  // namespace dfengine::test
