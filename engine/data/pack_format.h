// The packed file of prepared pictures (.dfpack). All numbers are little endian and have 64 bits.
//
//   byte        what stands there
//   ----------  ------------------------------------------------------------------------------
//   0           magic "DFPACK1\n"
//   8           length of the index in bytes
//   16          checksum of the index
//   24          records_at, the place of the first record: a multiple of 4096
//   32          the index: JSON text, NUL; then for each split its name, NUL, its number of
//               records in digits, NUL, and for each record its label ('0' or '1'), its relative
//               name, NUL
//   records_at  the records, all of one length:
//                 pixels [size, size, 3], or text that says why there are none
//                 their checksum, plus the number below less one
//                 1 for pixels, 2 for a reason, 3 for a reason that may be gone at another try
//   after them  the numbers of the records without pixels, in order
//
// Records are only added at the end and made anew where they are, so that an unfinished file can be
// gone on with.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/pictures/prepare.h"
#include "engine/data/sets/dataset.h"

namespace dfengine {

static_assert(std::endian::native == std::endian::little, "packed files are little endian");

struct PackHeader {
  char magic[8] = {'D', 'F', 'P', 'A', 'C', 'K', '1', '\n'};
  std::uint64_t index_bytes = 0;
  std::uint64_t index_checksum = 0;
  std::uint64_t records_at = 0;
};

struct PackTrailer {
  std::uint64_t checksum = 0;
  std::uint64_t state = 0;
};
constexpr std::uint64_t kPackPixels = 1, kPackReason = 2, kPackUnread = 3;

// What a record's trailer holds for these bytes and this state, so that it covers both.
std::uint64_t record_checksum(std::span<const std::byte> pixels, std::uint64_t state);

// What a packed file says of itself.
struct PackIndex {
  Preparation how;
  std::string digest;  // source_digest of the splits
  std::vector<Dataset> splits;

  Index records() const;
  Index picture_bytes() const { return how.size * how.size * 3; }
  Index record_bytes() const { return picture_bytes() + static_cast<Index>(sizeof(PackTrailer)); }
};

std::string write_index(const PackIndex& index);
// Throws DataError naming `file` when the text is no index.
PackIndex read_index(std::string_view text, const std::string& file);

}  // namespace dfengine
