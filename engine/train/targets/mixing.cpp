#include "engine/train/targets/mixing.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/random.h"

namespace dfengine {
namespace {

// Gamma(shape, 1) by Marsaglia and Tsang (2000); below a shape of 1 by their power of a uniform.
double draw_gamma(Random& random, double shape) {
  // Above 0, of which a logarithm is taken.
  const auto above_zero = [&] { return 1 - random.uniform(); };
  if (shape < 1) {
    const double power = std::pow(above_zero(), 1 / shape);
    return power * draw_gamma(random, shape + 1);
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = random.normal(), root = 1 + c * x, v = root * root * root;
    if (root > 0 && std::log(above_zero()) < 0.5 * x * x + d - d * v + d * std::log(v))
      return d * v;
  }
}

}  // namespace

double draw_share(double alpha, std::uint64_t seed, std::uint64_t epoch, Index step) {
  Random random(seed, RandomStream::Mixup, epoch << 32 | static_cast<std::uint64_t>(step));
  const double a = draw_gamma(random, alpha), b = draw_gamma(random, alpha);
  // Both may vanish where alpha is very small; then one picture is taken whole.
  return a + b > 0 ? a / (a + b) : static_cast<double>(random.below(2));
}

void mix_batch(Batch& batch, double share) {
  if (batch.n == 0) return;
  const std::size_t n = batch.targets.size(), bytes = batch.images.size() / n;
  const std::vector<std::uint8_t> images = batch.images;
  const std::vector<float> targets = batch.targets;
  std::size_t begin = 0;
  for (const Slice& slice : batch.slices) {
    const std::size_t end = begin + at(slice.n);
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t j = begin + (end - 1 - i);
      const std::uint8_t *own = images.data() + i * bytes, *other = images.data() + j * bytes;
      std::uint8_t* out = batch.images.data() + i * bytes;
      for (std::size_t k = 0; k < bytes; ++k)
        out[k] = static_cast<std::uint8_t>(std::lrint(share * own[k] + (1 - share) * other[k]));
      batch.targets[i] = static_cast<float>(share * static_cast<double>(targets[i]) +
                                            (1 - share) * static_cast<double>(targets[j]));
    }
    begin = end;
  }
}

void smooth_targets(std::vector<float>& targets, double smoothing) {
  for (float& t : targets)
    t = static_cast<float>(static_cast<double>(t) * (1 - smoothing) + smoothing / 2);
}

}  // namespace dfengine
