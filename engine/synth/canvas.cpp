// Value noise: random numbers on a lattice, joined by smooth interpolation.
#include "engine/synth/canvas.h"

namespace dfengine {

ValueNoise::ValueNoise(Random& random) {
  for (float& value : lattice_) value = draw(random, -1, 1);
}

float ValueNoise::at(float u, float v) const {
  // A whole number of periods keeps the cast's truncation a floor.
  constexpr float kShift = 4096.0f;
  const float pu = u + kShift, pv = v + kShift;
  const int iu = static_cast<int>(pu), iv = static_cast<int>(pv);
  const float fu = pu - static_cast<float>(iu), fv = pv - static_cast<float>(iv);
  const float su = fu * fu * (3.0f - 2.0f * fu), sv = fv * fv * (3.0f - 2.0f * fv);
  const auto cell = [&](int a, int b) {
    return lattice_[static_cast<std::size_t>((b % kPeriod) * kPeriod + a % kPeriod)];
  };
  const float top = cell(iu, iv) + (cell(iu + 1, iv) - cell(iu, iv)) * su;
  const float bottom = cell(iu, iv + 1) + (cell(iu + 1, iv + 1) - cell(iu, iv + 1)) * su;
  return top + (bottom - top) * sv;
}

float ValueNoise::layered(float u, float v, int octaves) const {
  float sum = 0, strength = 0.5f;
  for (int octave = 0; octave < octaves; ++octave) {
    sum += strength * at(u, v);
    // The odd shift keeps the octaves' lattices from lining up.
    u = u * 2.0f + 7.3f;
    v = v * 2.0f + 3.1f;
    strength *= 0.5f;
  }
  return sum;
}

}  // namespace dfengine
