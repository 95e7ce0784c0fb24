#include "engine/data/pictures/exif.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace dfengine {
namespace {

using Bytes = std::span<const std::byte>;

bool begins(Bytes bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

// Bytes from `at` on, none where there are none: hostile offsets end a search instead of a program.
Bytes after(Bytes bytes, std::size_t at) {
  return bytes.subspan(std::min(at, bytes.size()));
}

// An unsigned number of `size` bytes; 0 where the bytes end.
std::uint32_t number(Bytes bytes, std::size_t at, int size, bool big_endian) {
  const Bytes from = after(bytes, at);
  if (from.size() < static_cast<std::size_t>(size)) return 0;
  std::uint32_t value = 0;
  for (int i = 0; i < size; ++i) {
    const auto byte = static_cast<std::size_t>(big_endian ? i : size - 1 - i);
    value = value << 8 | static_cast<std::uint32_t>(from[byte]);
  }
  return value;
}

// Of a TIFF header and its first directory.
int orientation_of_tiff(Bytes tiff) {
  constexpr std::uint32_t kOrientation = 0x0112, kShort = 3;
  const bool big = begins(tiff, {"MM\0*", 4});
  if (!big && !begins(tiff, {"II*\0", 4})) return 1;
  const Bytes directory = after(tiff, number(tiff, 4, 4, big));
  const std::uint32_t entries = number(directory, 0, 2, big);
  for (std::size_t i = 0; i < entries; ++i) {
    const Bytes entry = after(directory, 2 + 12 * i);
    if (number(entry, 0, 2, big) != kOrientation) continue;
    if (number(entry, 2, 2, big) != kShort) return 1;
    const std::uint32_t value = number(entry, 8, 2, big);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

int orientation_of_jpeg(Bytes file) {
  constexpr std::uint32_t kApp1 = 0xFFE1, kScan = 0xFFDA;
  for (Bytes rest = after(file, 2); rest.size() >= 4;) {
    const std::uint32_t marker = number(rest, 0, 2, true);
    if (marker == 0xFFFF) {  // fill byte
      rest = after(rest, 1);
      continue;
    }
    const std::size_t length = number(rest, 2, 2, true);
    if (marker < 0xFF00 || marker == kScan || length < 2) return 1;
    const Bytes body = after(rest.first(std::min(rest.size(), length + 2)), 4);
    if (marker == kApp1 && begins(body, {"Exif\0\0", 6}))
      return orientation_of_tiff(after(body, 6));
    rest = after(rest, length + 2);
  }
  return 1;
}

int orientation_of_png(Bytes file) {
  for (Bytes rest = after(file, 8); rest.size() >= 12;) {
    const std::size_t length = number(rest, 0, 4, true);
    const Bytes body = after(rest, 8);
    if (begins(after(rest, 4), "eXIf")) {
      return orientation_of_tiff(body.first(std::min(body.size(), length)));
    }
    rest = after(body, length + 4);
  }
  return 1;
}

}  // namespace

int exif_orientation(Bytes file) {
  if (begins(file, "\xFF\xD8")) return orientation_of_jpeg(file);
  if (begins(file, "\x89PNG")) return orientation_of_png(file);
  return 1;
}

void apply_orientation(int orientation, Image& image, Image& spare) {
  if (orientation <= 1 || orientation > 8) return;
  const bool swaps = orientation >= 5;  // rows become columns
  const bool from_right = orientation == 2 || orientation == 3 || orientation >= 7;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  // Steps through the stored picture for one step right and one step down in the seen one.
  const Index across = from_right ? -1 : 1, down = from_bottom ? -image.w : image.w;
  const Index right = swaps ? down : across, below = swaps ? across : down;
  spare.h = swaps ? image.w : image.h;
  spare.w = swaps ? image.h : image.w;
  spare.rgb.resize(image.rgb.size());
  const std::uint8_t* first = image.rgb.data() + 3 * ((from_right ? image.w - 1 : 0) +
                                                      (from_bottom ? image.h - 1 : 0) * image.w);
  std::uint8_t* out = spare.rgb.data();
  for (Index y = 0; y < spare.h; ++y) {
    for (Index x = 0; x < spare.w; ++x, out += 3) {
      std::memcpy(out, first + 3 * (y * below + x * right), 3);
    }
  }
  std::swap(image, spare);
}

}  // namespace dfengine
