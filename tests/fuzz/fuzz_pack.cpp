// libFuzzer target for packed files; tests/fuzz.sh builds and runs it.
#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/data/pack.h"
#include "kernels/base/checksum.h"
#include "kernels/base/error.h"
#include "tests/fuzz/memory_file.h"

namespace {

using namespace dfengine;

// Any file gives records or an Error.
void check(std::span<const std::byte> bytes) {
  static fuzz::MemoryFile file;
  try {
    const Pack pack(file.holding(bytes));
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(pack.index().picture_bytes()));
    for (Index i = 0; i < pack.index().records(); ++i) {
      static_cast<void>(pack.is_unread(i));
      try {
        pack.read(i, pixels.data());
      } catch (const DataError&) {
      }
    }
  } catch (const Error&) {
  }
}

// An index whose NULs are written as line breaks, up to an empty line, and the records behind it: a
// whole file with its checksums set right, so that mutations reach what lies behind them.
std::vector<std::byte> whole_file(std::string_view text) {
  const std::size_t end = std::min(text.find("\n\n"), text.size());
  std::string index(text.substr(0, std::min(end + 1, text.size())));
  std::ranges::replace(index, '\n', '\0');
  std::string records(text.substr(std::min(end + 2, text.size())));
  try {
    const auto bytes = static_cast<std::size_t>(read_index(index, "fuzz").record_bytes());
    for (std::size_t at = 0; at + bytes <= records.size(); at += bytes) {
      PackTrailer trailer;
      const std::size_t pixels = bytes - sizeof(trailer);
      std::memcpy(&trailer, records.data() + at + pixels, sizeof(trailer));
      trailer.checksum =
          record_checksum(std::as_bytes(std::span(records).subspan(at, pixels)), trailer.state);
      std::memcpy(records.data() + at + pixels, &trailer, sizeof(trailer));
    }
  } catch (const Error&) {
  }
  const PackHeader header{.index_bytes = index.size(),
                          .index_checksum = checksum(index),
                          .records_at = sizeof(PackHeader) + index.size()};
  std::vector<std::byte> file(sizeof(header));
  std::memcpy(file.data(), &header, sizeof(header));
  for (const std::string& part : {index, records}) {
    const auto part_bytes = std::as_bytes(std::span(part));
    file.insert(file.end(), part_bytes.begin(), part_bytes.end());
  }
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  check(std::as_bytes(std::span(data, size)));
  check(whole_file({reinterpret_cast<const char*>(data), size}));
  return 0;
}
