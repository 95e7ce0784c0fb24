// A batch norm that its reader applies: instead of y the reading kernel gets the batch norm's x and
// puts activation(x * scale + shift), rounded to the stored type, in place of each value it loads.
// Those are the very numbers that kernels/batch_norm.h would have stored, bit for bit. Zeros that a
// window sees outside the image stay zeros: they stand for y.
#pragma once

#include "kernels/base/shape.h"

namespace dfengine {

struct NormOnLoad {
  const float* scale = nullptr;  // [C], aligned to 16 bytes; null: values are taken as they are
  const float* shift = nullptr;  // [C], likewise
  Activation activation = Activation::None;
  constexpr bool present() const { return scale != nullptr; }
};

}  // namespace dfengine
