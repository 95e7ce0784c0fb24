// The stem problem: checks and output geometry.
#include "kernels/stem_conv.h"

#include <string>

#include "kernels/base/error.h"

namespace dfengine {

StemProblem StemProblem::make(const Shape& x, Index k, Padding padding, Index stride) {
  if (x.n < 1 || x.h < 1 || x.w < 1 || x.c != kChannels || k < 1) {
    throw ShapeError("stem convolution of x [" + std::to_string(x.n) + ", " + std::to_string(x.h) +
                     ", " + std::to_string(x.w) + ", " + std::to_string(x.c) + "] to " +
                     std::to_string(k) +
                     " channels: every size must be at least 1 and x must have 3 channels (RGB)");
  }
  if (stride != 1 && stride != 2)
    throw ShapeError("stem convolution with stride " + std::to_string(stride) + ": 1 or 2");
  const Window window{.size = kWindow, .stride = stride, .padding = padding};
  const WindowAxis rows = window_axis(x.h, window), columns = window_axis(x.w, window);
  return {.n = x.n,
          .h = x.h,
          .w = x.w,
          .k = k,
          .padding = padding,
          .stride = stride,
          .p = rows.out,
          .q = columns.out,
          .before_h = rows.before,
          .before_w = columns.before};
}

}  // namespace dfengine
