// The size of a JSON text, before anything is built of it.
#pragma once

#include <cstddef>
#include <string_view>

namespace dfengine::weights {

// Of a text that anybody may have written: the library takes as deep and as many values as come,
// copies and destroys deep ones by recursion, and is quadratic where a callback looks at each.
struct JsonExtent {
  std::size_t depth = 0;   // of arrays and objects inside each other
  std::size_t values = 0;  // at most
};

// In one pass. What it finds in a text that is no JSON means nothing.
JsonExtent json_extent(std::string_view text);

}  // namespace dfengine::weights
