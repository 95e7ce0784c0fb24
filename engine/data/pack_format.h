// The packed file of prepared pictures (.dfpack). All numbers little endian, 64 bits.
//   0      magic "DFPACK1\n"; bytes of the index; checksum of the index; place of the first record
//   32     the index: JSON text, NUL, then for each split its name, NUL, its number of records,
//   NUL,
//          and for each record its label ('0' or '1'), relative name, NUL
//   place  records of equal length: pixels [size, size, 3], or the reason why there are none; the
//          checksum of those bytes; 1 for pixels, 2 for a reason
//   after them, the numbers of the records without pixels
// Records are only ever added at the end, so that an unfinished file can be gone on with.
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
constexpr std::uint64_t kPackPixels = 1, kPackReason = 2;

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

// 64 bits over any bytes: eight running multiplications, for the speed of memory. Finds damage, not
// forgery.
std::uint64_t pack_checksum(std::span<const std::uint8_t> bytes);

}  // namespace dfengine
