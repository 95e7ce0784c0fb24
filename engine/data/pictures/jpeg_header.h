// What a JPEG file says of itself before its pixels: read at header speed, nothing decoded.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kernels/base/shape.h"

namespace dfengine {

struct JpegHeader {
  Index h = 0;
  Index w = 0;
  int components = 0;
  bool progressive = false;
  bool exif = false;
  // The first component's sampling against the second's, across and down: 2 x 2 is 4:2:0, 1 x 1 is
  // 4:4:4 or gray.
  int chroma_across = 1;
  int chroma_down = 1;
  // Quantisation tables 0 (luma) and 1 (chroma), in zigzag order; 0 where there is none.
  std::array<std::array<std::uint16_t, 64>, 2> quantisation{};

  // Sum of a table's steps: grows as the quality falls.
  Index quantisation_sum(int table) const;
  // A number for both tables together: files of one encoder and quality share it.
  std::uint32_t quantisation_id() const;
};

// Bytes from the start of a file that hold the header of nearly every JPEG.
constexpr std::size_t kJpegHeaderBytes = std::size_t{64} << 10;

// From the first bytes of a file. Nothing where they are no JPEG or end before the frame (SOF) and
// the first scan; never reads outside `bytes`. Markers after ITU T.81, annex B.
std::optional<JpegHeader> read_jpeg_header(std::span<const std::byte> bytes);

}  // namespace dfengine
