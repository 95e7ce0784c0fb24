// A TFRecord file of the protobuf messages Event and Summary of TensorFlow, which are written field
// by field. Each record: its length in 8 bytes, the masked checksum of those, the message, its
// checksum.
#include "engine/report/export/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>

#include "kernels/base/error.h"

namespace dfengine::report {
namespace {

// Least byte first.
template <class Word>
std::string little_endian(Word word) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(Word); ++i) bytes += static_cast<char>(word >> 8 * i & 0xFF);
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7F) | 0x80);
  return bytes + static_cast<char>(value);
}

// Of protobuf's wire types.
enum class Wire { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

std::string key(int field, Wire wire) {
  return varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire));
}
std::string field(int number, double value) {
  return key(number, Wire::Fixed64) + little_endian(std::bit_cast<std::uint64_t>(value));
}
std::string field(int number, float value) {
  return key(number, Wire::Fixed32) + little_endian(std::bit_cast<std::uint32_t>(value));
}
std::string field(int number, std::int64_t value) {
  return key(number, Wire::Varint) + varint(static_cast<std::uint64_t>(value));
}
std::string field(int number, const std::string& bytes) {
  return key(number, Wire::Bytes) + varint(bytes.size()) + bytes;
}

// The numbers of the fields in event.proto and summary.proto.
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5;
constexpr int kValue = 1, kTag = 1, kSimpleValue = 2;

std::string masked_checksum(std::string_view bytes) {
  constexpr std::uint32_t kMask = 0xA282EAD8;
  const std::uint32_t crc = crc32c(bytes);
  return little_endian(static_cast<std::uint32_t>(std::rotr(crc, 15) + kMask));
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  constexpr std::uint32_t kPolynomial = 0x82F63B78;  // reflected
  static constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? kPolynomial : 0);
      table[i] = crc;
    }
    return table;
  }();
  std::uint32_t crc = ~std::uint32_t{0};
  for (const char c : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& folder) {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0') host = {"host"};
  const double seconds = now();
  // As TensorFlow names them; TensorBoard looks for the beginning, and reads in the order of names.
  path_ = folder / fmt::format("events.out.tfevents.{:010}.{}.{}.dfengine",
                               static_cast<std::int64_t>(seconds), host.data(), ::getpid());
  stream_.open(path_, std::ios::binary | std::ios::app);
  write(field(kWallTime, seconds) + field(kFileVersion, std::string("brain.Event:2")));
}

void EventFile::add(std::int64_t step, double seconds, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& one : scalars)
    summary +=
        field(kValue, field(kTag, one.tag) + field(kSimpleValue, static_cast<float>(one.value)));
  write(field(kWallTime, seconds) + field(kStep, step) + field(kSummary, summary));
}

void EventFile::write(const std::string& event) {
  const std::string length = little_endian(std::uint64_t{event.size()});
  stream_ << length << masked_checksum(length) << event << masked_checksum(event) << std::flush;
  if (!stream_) throw Error(path_.string() + ": cannot be written");
}

}  // namespace dfengine::report
