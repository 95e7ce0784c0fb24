// Numbers as a type stores them, and back.
#pragma once

#include <type_traits>

#include "kernels/base/half.h"

namespace dfengine {

// Rounded as a device rounds: to float, then to nearest.
template <class T>
T stored(double value) {
  if constexpr (std::is_same_v<T, Half>) {
    return {float_to_f16(static_cast<float>(value))};
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return {float_to_bf16(static_cast<float>(value))};
  } else {
    return static_cast<T>(value);
  }
}

template <class T>
double value_of(T x) {
  if constexpr (std::is_same_v<T, Half>) {
    return static_cast<double>(f16_to_float(x.bits));
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return static_cast<double>(bf16_to_float(x.bits));
  } else {
    return static_cast<double>(x);
  }
}

}  // namespace dfengine
