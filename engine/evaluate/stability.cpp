#include "engine/evaluate/stability.h"

#include <algorithm>

namespace dfengine {

Stability stability_of(std::span<const float> logits, const Model& model) {
  const auto [low, high] = std::ranges::minmax(logits);
  Stability s{model.probability(low), model.probability(high)};
  s.flips = (s.low >= model.threshold) != (s.high >= model.threshold);
  return s;
}

}  // namespace dfengine
