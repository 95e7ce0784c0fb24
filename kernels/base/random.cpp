#include "kernels/base/random.h"

#include <cmath>
#include <numbers>

namespace dfengine {
std::uint32_t Random::bits() {
  if (used_ == 4) {
    block_ = philox(seed_, stream_, sub_, counter_++);
    used_ = 0;
  }
  return block_[static_cast<std::size_t>(used_++)];
}

double Random::uniform() {
  return (bits() >> 8) * 0x1p-24;
}

std::uint32_t Random::below(std::uint32_t bound) {
  // Rejection: draws past the last whole multiple of bound would favour small values.
  const std::uint32_t limit = 0xFFFFFFFFu - 0xFFFFFFFFu % bound;
  std::uint32_t x = bits();
  while (x >= limit) x = bits();
  return x % bound;
}

double Random::normal() {
  const double u = 1.0 - uniform();  // (0, 1]: the logarithm stays finite
  const double v = uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

}  // namespace dfengine
