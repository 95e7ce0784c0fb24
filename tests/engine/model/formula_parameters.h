// The whole-network goldens' parameters.
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/runtime/parameter_store.h"

namespace dfengine::test {

// The formula of tests/golden/README.md.
inline float formula(std::uint64_t tensor, std::uint64_t element, const ParamSpec& spec) {
  std::uint64_t z = (tensor << 32) + element + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z = z ^ (z >> 31);
  const double u = static_cast<double>(z >> 40) * 0x1p-23 - 1;
  if (spec.role == Role::NormScale) return static_cast<float>(1 + 0.1 * u);
  if (spec.role == Role::RunningVar) return static_cast<float>(1 + 0.5 * std::abs(u));
  if (spec.role != Role::Weight) return static_cast<float>(0.1 * u);
  const auto fan_in = static_cast<double>(spec.count() / spec.file_shape[0]);
  return static_cast<float>(std::sqrt(6 / fan_in) * u);
}

inline std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// order: the names in the goldens' order, with commas between.
inline void set_formula_parameters(ParameterStore& parameters, const std::string& order) {
  const std::vector<std::string> names = split(order);
  for (std::size_t t = 0; t < names.size(); ++t) {
    const int i = parameters.find(names[t]);
    if (i < 0) throw std::runtime_error("no parameter " + names[t]);
    const ParamSpec& spec = parameters.specs()[static_cast<std::size_t>(i)];
    std::vector<float> values(static_cast<std::size_t>(spec.count()));
    for (std::size_t e = 0; e < values.size(); ++e) values[e] = formula(t, e, spec);
    parameters.set(i, std::span<const float>(values));
  }
}

}  // namespace dfengine::test
