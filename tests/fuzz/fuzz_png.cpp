// libFuzzer target for PNG pictures; tests/fuzz.sh builds and runs it.
#include <zlib.h>

#include <cstdint>
#include <vector>

#include "tests/fuzz/pictures.h"

namespace {

std::uint32_t number_at(const std::vector<std::byte>& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value = value << 8 | std::to_integer<std::uint32_t>(bytes[at + i]);
  return value;
}

// With the checksum of every chunk set right: nearly all mutations would end there.
std::vector<std::byte> repaired(std::span<const std::byte> file) {
  std::vector<std::byte> bytes(file.begin(), file.end());
  constexpr std::size_t kSignature = 8, kAround = 12;
  for (std::size_t at = kSignature; at + kAround <= bytes.size();) {
    const std::size_t length = number_at(bytes, at);
    if (length > bytes.size() - at - kAround) break;
    const std::size_t end = at + 8 + length;
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(bytes.data() + at + 4),
                           static_cast<uInt>(length + 4));
    for (std::size_t i = 0; i < 4; ++i)
      bytes[end + i] = static_cast<std::byte>(crc >> (24 - 8 * i));
    at = end + 4;
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  dfengine::fuzz::check_picture(file, "PNG");
  dfengine::fuzz::check_picture(repaired(file), "PNG");
  return 0;
}
