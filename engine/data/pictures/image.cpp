#include "engine/data/pictures/image.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace dfengine {

void mirror(std::uint8_t* image, Index size) {
  for (Index y = 0; y < size; ++y) {
    std::uint8_t* row = image + y * size * 3;
    for (Index a = 0, b = size - 1; a < b; ++a, --b) {
      std::swap_ranges(row + 3 * a, row + 3 * a + 3, row + 3 * b);
    }
  }
}

}  // namespace dfengine
