#include "engine/train/targets/class_weights.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/numbers.h"

namespace dfengine {

ClassWeights parse_class_weights(const std::string& text) {
  if (text == "none") return {};
  if (text == "balanced") return {.given = {}, .balanced = true};
  const auto numbers = numbers_of(text);
  const auto is_weight = [](double w) { return w > 0 && std::isfinite(w); };
  if (!numbers || numbers->size() != 2 || !is_weight((*numbers)[0]) || !is_weight((*numbers)[1]))
    throw UsageError(
        fmt::format("--class-weights '{}': none, balanced or REAL,FAKE, both above 0", text));
  return {.given = {(*numbers)[0], (*numbers)[1]}};
}

std::string to_string(const ClassWeights& weights) {
  if (weights.balanced) return "balanced";
  if (weights.given == BceWeights{}) return "none";
  return fmt::format("{},{}", weights.given.real, weights.given.fake);
}

BceWeights weights_for(const ClassWeights& weights, const Dataset& train) {
  if (!weights.balanced) return weights.given;
  const Index real = train.count(0), fake = train.count(1);
  if (real == 0 || fake == 0)
    throw DataError("--class-weights balanced: the training pictures are all of one class");
  const auto weight = [all = real + fake](Index of) {
    return static_cast<double>(all) / (2.0 * static_cast<double>(of));
  };
  return {weight(real), weight(fake)};
}

}  // namespace dfengine
