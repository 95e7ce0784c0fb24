#include "kernels/base/checksum.h"

#include <bit>
#include <cstring>

namespace dfengine {

static_assert(std::endian::native == std::endian::little, "words are read as they lie in memory");

std::uint64_t checksum(std::span<const std::byte> bytes) {
  constexpr std::uint64_t kPrime = 0x100000001B3;  // of FNV-1a
  constexpr std::size_t kLanes = 8, kBlock = kLanes * sizeof(std::uint64_t);
  std::uint64_t lanes[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = 0xCBF29CE484222325 + i;
  std::uint64_t words[kLanes];
  const std::size_t whole = bytes.size() / kBlock * kBlock;
  const auto add = [&] {
    for (std::size_t i = 0; i < kLanes; ++i) {
      const std::uint64_t mixed = (lanes[i] ^ words[i]) * kPrime;
      lanes[i] = mixed ^ mixed >> 32;  // high bits come down: a product alone only moves bits up
    }
  };
  for (std::size_t at = 0; at < whole; at += kBlock) {
    std::memcpy(words, bytes.data() + at, kBlock);
    add();
  }
  std::memset(words, 0, kBlock);
  if (whole < bytes.size())  // an empty span has no address
    std::memcpy(words, bytes.data() + whole, bytes.size() - whole);
  add();
  std::uint64_t sum = bytes.size();
  for (std::uint64_t lane : lanes) sum = (std::rotl(sum, 5) ^ lane) * kPrime;
  return sum;
}

}  // namespace dfengine
