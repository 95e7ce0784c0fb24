// SHA-256 (FIPS 180-4). It names the file that a model came from and checks downloads.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace dfengine {

// The digest of data as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::span<const std::byte> data);

}  // namespace dfengine
