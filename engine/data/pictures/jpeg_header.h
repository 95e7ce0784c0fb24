// What a JPEG file says of itself before its pixels. Nothing is decoded to read it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "kernels/base/shape.h"

namespace dfengine {

struct JpegHeader {
  Index h = 0;
  Index w = 0;
  int components = 0;
  bool progressive = false;
  // The first component's sampling against the second's, across and down: 2 x 2 is 4:2:0, and 1 x 1
  // is 4:4:4 or gray.
  int chroma_across = 1;
  int chroma_down = 1;
  // Quantisation tables 0 (luma) and 1 (chroma) in zigzag order, zeros where there is none.
  std::array<std::array<std::uint16_t, 64>, 2> quantisation{};

  // The sum of a table's steps, which grows as the quality falls.
  Index quantisation_sum(int table) const;
  // A number for both tables together, which files of one encoder and quality share.
  std::uint32_t quantisation_id() const;
};

// Calls visit(marker, body) for the whole segments that come before the first scan; 0xE1 is APP1.
// Returns whether that scan was found. The markers are those of ITU T.81, annex B.
bool for_each_jpeg_segment(
    std::span<const std::byte> bytes,
    const std::function<void(unsigned marker, std::span<const std::byte> body)>& visit);

// Reads the first bytes of a file, never outside `bytes`. Gives nothing where they are no JPEG, or
// end before the frame (SOF) and the first scan.
std::optional<JpegHeader> read_jpeg_header(std::span<const std::byte> bytes);

}  // namespace dfengine
