// The depthwise problem: checks and output geometry.
#include "kernels/depthwise_conv.h"

#include <string>

#include "kernels/base/error.h"

namespace dfengine {

DepthwiseProblem DepthwiseProblem::make(const Shape& x, Index stride, Padding padding) {
  if (x.n < 1 || x.h < 1 || x.w < 1 || x.c < 1 || stride < 1 || stride > 2) {
    throw ShapeError("depthwise convolution of x [" + std::to_string(x.n) + ", " +
                     std::to_string(x.h) + ", " + std::to_string(x.w) + ", " + std::to_string(x.c) +
                     "] with stride " + std::to_string(stride) +
                     ": every size must be at least 1 and the stride 1 or 2");
  }
  const Window window{.size = kWindow, .stride = stride, .padding = padding};
  const WindowAxis rows = window_axis(x.h, window), columns = window_axis(x.w, window);
  return {.n = x.n,
          .h = x.h,
          .w = x.w,
          .c = x.c,
          .stride = stride,
          .padding = padding,
          .p = rows.out,
          .q = columns.out,
          .before_h = rows.before,
          .before_w = columns.before};
}

}  // namespace dfengine
