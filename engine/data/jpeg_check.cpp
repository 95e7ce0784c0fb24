#include "engine/data/jpeg_check.h"

#include <algorithm>

namespace dfengine {
namespace {

constexpr int kEnd = -1;
constexpr int kStartOfImage = 0xD8, kEndOfImage = 0xD9, kHuffmanTables = 0xC4;

struct Walker {
  std::span<const std::byte> left;

  int byte() {
    if (left.empty()) return kEnd;
    const int value = std::to_integer<int>(left.front());
    left = left.subspan(1);
    return value;
  }
  void skip(std::size_t n) { left = left.subspan(std::min(n, left.size())); }
  // A segment's length without its own two bytes; at most what a broken length can mean: nothing.
  std::size_t length() {
    const int high = byte(), low = byte();
    return static_cast<std::size_t>(std::max(high * 256 + low - 2, 0));
  }
  // The next marker: FF, any more FF, and a byte that is neither. Between scans and in front of
  // segments stb skips to it; in coded data FF 00 is a byte of data, and restarts (D0 to D7) do not
  // end a scan.
  int marker() {
    while (true) {
      int value = byte();
      while (value != 0xFF && value != kEnd) value = byte();
      while (value == 0xFF) value = byte();
      if (value == kEnd || (value != 0 && (value < 0xD0 || value > 0xD7))) return value;
    }
  }
  bool tables_fit() {
    auto size = static_cast<std::ptrdiff_t>(length());
    while (size > 0 && !left.empty()) {
      byte();  // class and number
      int codes = 0;
      for (int bits = 1; bits <= 16; ++bits) codes += std::max(byte(), 0);
      if (codes > 256) return false;
      skip(static_cast<std::size_t>(codes));
      size -= 17 + codes;
    }
    return true;
  }
};

}  // namespace

bool jpeg_huffman_tables_fit(std::span<const std::byte> bytes) {
  Walker walker{bytes};
  if (bytes.empty() || bytes[0] != std::byte{0xFF} || walker.marker() != kStartOfImage) return true;
  for (int m = walker.marker(); m != kEnd && m != kEndOfImage; m = walker.marker()) {
    if (m == kHuffmanTables) {
      if (!walker.tables_fit()) return false;
    } else {
      walker.skip(walker.length());  // after a scan's header its coded data follows
    }
  }
  return true;
}

}  // namespace dfengine
