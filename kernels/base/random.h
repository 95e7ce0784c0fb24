// Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): value = f(seed, stream,
// counter). There is no state to carry, so element i of stream s is the same number whatever the
// thread count.
#pragma once

#include <array>
#include <cstdint>

namespace dfengine {

// Streams keep the uses of one seed apart. Never renumber them: checkpoints and runs depend on it.
enum class RandomStream : std::uint32_t {
  Init = 1,
  Shuffle = 2,
  Dropout = 3,
  Flip = 4,
  Synth = 5,
  Augment = 6,
  Noise = 7,
  Bootstrap = 8,
  Window = 9,
  Turn = 10,
  Patch = 11,
  Webp = 12,
  Mixup = 13,
  Split = 16,
  Folds = 24,
};

// Gives four 32-bit words for one counter value. `sub` is a second counter, such as the number of
// an epoch, a step or a tensor.
constexpr std::array<std::uint32_t, 4> philox(std::uint64_t seed, RandomStream stream,
                                              std::uint64_t sub, std::uint32_t counter) {
  constexpr std::uint32_t kMulA = 0xD2511F53u, kMulB = 0xCD9E8D57u;
  constexpr std::uint32_t kKeyA = 0x9E3779B9u, kKeyB = 0xBB67AE85u;
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

// Draws the numbers of one (seed, stream, sub) in order.
class Random {
 public:
  Random(std::uint64_t seed, RandomStream stream, std::uint64_t sub)
      : seed_(seed), stream_(stream), sub_(sub) {}
  std::uint32_t bits();
  // Uniform in [0, 1), in steps of 2^-24.
  double uniform();
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // A uniform integer in [0, bound), without bias; bound >= 1.
  std::uint32_t below(std::uint32_t bound);
  // Standard normal, by the method of Box and Muller.
  double normal();

 private:
  std::uint64_t seed_;
  RandomStream stream_;
  std::uint64_t sub_;
  std::uint32_t counter_ = 0;
  int used_ = 4;
  std::array<std::uint32_t, 4> block_{};
};

}  // namespace dfengine
