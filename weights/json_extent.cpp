#include "weights/json_extent.h"

#include <algorithm>

namespace dfengine::weights {

JsonExtent json_extent(std::string_view text) {
  JsonExtent extent{.values = 1};
  std::size_t open = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (in_string) {
      continue;
    } else if (c == '[' || c == '{') {
      extent.depth = std::max(extent.depth, ++open);
      ++extent.values;
    } else if ((c == ']' || c == '}') && open > 0) {
      --open;
    } else if (c == ',') {
      ++extent.values;
    }
  }
  return extent;
}

}  // namespace dfengine::weights
