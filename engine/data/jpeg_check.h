// A look over a JPEG's segments before stb_image sees it.
#pragma once

#include <cstddef>
#include <span>

namespace dfengine {

// Whether every Huffman table of a JPEG holds at most 256 codes. stb_image up to 2.27 (Debian 12)
// does not check that and writes past its tables. Walks the segments exactly as stb does, so that
// no table it would read is missed. True for files that do not begin like a JPEG.
bool jpeg_huffman_tables_fit(std::span<const std::byte> bytes);

}  // namespace dfengine
