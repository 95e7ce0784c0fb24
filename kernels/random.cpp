#include "kernels/random.h"

#include <cmath>
#include <numbers>

namespace dfengine {
namespace {

constexpr std::uint32_t kMulA = 0xD2511F53u, kMulB = 0xCD9E8D57u;
constexpr std::uint32_t kKeyA = 0x9E3779B9u, kKeyB = 0xBB67AE85u;

}  // namespace

std::array<std::uint32_t, 4> philox(std::uint64_t seed, RandomStream stream, std::uint64_t sub,
                                    std::uint32_t counter) {
  std::array<std::uint32_t, 4> x = {counter, static_cast<std::uint32_t>(stream),
                                    static_cast<std::uint32_t>(sub),
                                    static_cast<std::uint32_t>(sub >> 32)};
  std::uint32_t key_a = static_cast<std::uint32_t>(seed);
  std::uint32_t key_b = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{kMulA} * x[0];
    const std::uint64_t b = std::uint64_t{kMulB} * x[2];
    x = {static_cast<std::uint32_t>(b >> 32) ^ x[1] ^ key_a, static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32) ^ x[3] ^ key_b, static_cast<std::uint32_t>(a)};
    key_a += kKeyA;
    key_b += kKeyB;
  }
  return x;
}

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
