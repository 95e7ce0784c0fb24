// A checksum of 64 bits over any bytes. Eight multiplications run side by side, so that it is as
// fast as memory. It finds damage, not forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace dfengine {

std::uint64_t checksum(std::span<const std::byte> bytes);
inline std::uint64_t checksum(std::string_view text) {
  return checksum(std::as_bytes(std::span(text)));
}

}  // namespace dfengine
