// Whether two kernels computed the same.
#pragma once

#include <optional>
#include <string>

#include "kernels/cuda/runtime.h"
#include "kernels/cuda/tuning/choice.h"

namespace dfengine::cuda {

// How far two results may lie apart that have the same terms, added up in float in another order,
// and are rounded to a type to nearest: by sums + rounding * (|one| + |other|). Each of the two sums
// is off by what kernels/base/tolerance.h allows a sum, and rounding moves each by at most the unit
// roundoff of what it became, or below the normal range by half the least number.
struct Closeness {
  float sums = 0;
  float rounding = 0;
  // The root mean square of all differences beside that of the numbers themselves. A sum of many
  // terms of both signs is far below their magnitude, so a part of it could be missing unseen by
  // the first bound. Tensor cores drop what lies below the last place of a sum, for each of terms /
  // 16 products (Fasi et al., Numerical behavior of NVIDIA tensor cores, 2021).
  float together = 0;
  // magnitude: what the absolute values of the terms add up to, at most.
  static Closeness of(StorageType type, double terms, double magnitude);
};

// Compares numbers on a device, with memory of its own for what it finds.
class Comparison {
 public:
  explicit Comparison(Stream stream);
  // The first of `count` numbers that lie further apart, or where one is not finite: "[12] is 3.5,
  // not 4 within 0.1". Else " as a whole: by 0.06 of its root mean square, within 0.002", if so.
  // Nothing where all is close. Waits for the stream.
  std::optional<std::string> first_difference(StorageType type, Index count, const void* got,
                                              const void* want, const Closeness& close);

 private:
  template <class T>
  std::optional<std::string> first_difference_in(Index count, const T* got, const T* want,
                                                 const Closeness& close);

  Stream stream_;
  DeviceMemory found_;
};

}  // namespace dfengine::cuda
