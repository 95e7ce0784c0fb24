// A batch norm that its reader applies. The reading kernel gets the batch norm's x instead of its y
// and replaces each value that it loads by activation(x * scale + shift), rounded to the stored
// type. These are the very numbers that kernels/batch_norm.h would have stored, bit for bit. The
// zeros that a window sees outside the image stay zeros, because they stand for y.
#pragma once

#include "kernels/base/shape.h"

namespace dfengine {

struct NormOnLoad {
  const float* scale = nullptr;  // [C], aligned to 16 bytes; null where there is no norm
  const float* shift = nullptr;  // [C], likewise
  Activation activation = Activation::None;
  // [C], likewise, of x: for a reader that makes the gradient's sums (kernels/norm_gradient.h).
  const float* mean = nullptr;
  constexpr bool present() const { return scale != nullptr; }
};

}  // namespace dfengine
