#include "engine/data/pictures/jpeg_header.h"

#include <algorithm>
#include <numeric>

namespace dfengine {
namespace {

// Bytes in order; reading past the end gives 0 and is remembered.
class Bytes {
 public:
  explicit Bytes(std::span<const std::byte> bytes) : left_(bytes) {}
  bool ended() const { return ended_; }
  bool empty() const { return left_.empty(); }

  unsigned u8() {
    if (left_.empty()) {
      ended_ = true;
      return 0;
    }
    const auto value = std::to_integer<unsigned>(left_.front());
    left_ = left_.subspan(1);
    return value;
  }
  unsigned u16() {
    const unsigned high = u8();
    return high << 8 | u8();
  }
  std::span<const std::byte> take(std::size_t n) {
    ended_ |= n > left_.size();
    const auto taken = left_.first(std::min(n, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::byte> left_;
  bool ended_ = false;
};

// SOF0 to SOF15 less DHT, JPG and DAC, which lie among them.
bool is_frame(unsigned marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

void read_tables(Bytes segment, JpegHeader& header) {
  while (!segment.empty()) {
    const unsigned kind = segment.u8();
    std::array<std::uint16_t, 64> table{};
    for (std::uint16_t& step : table) {
      step = static_cast<std::uint16_t>(kind >> 4 != 0 ? segment.u16() : segment.u8());
    }
    if (!segment.ended() && (kind & 15) < 2) header.quantisation[kind & 15] = table;
  }
}

bool read_frame(Bytes segment, unsigned marker, JpegHeader& header) {
  segment.u8();  // bits a sample
  header.h = segment.u16();
  header.w = segment.u16();
  header.components = static_cast<int>(segment.u8());
  header.progressive = marker == 0xC2 || marker == 0xC6 || marker == 0xCA || marker == 0xCE;
  std::array<unsigned, 2> sampling = {0x11, 0x11};
  for (int c = 0; c < std::min(header.components, 2); ++c) {
    segment.u8();  // the component's name
    sampling[at(c)] = segment.u8();
    segment.u8();  // its table
  }
  if (segment.ended() || header.components == 0) return false;
  const auto ratio = [&](int shift) {
    const unsigned luma = sampling[0] >> shift & 15, chroma = sampling[1] >> shift & 15;
    return header.components > 1 && chroma > 0 ? static_cast<int>(luma / chroma) : 1;
  };
  header.chroma_across = ratio(4);
  header.chroma_down = ratio(0);
  return true;
}

}  // namespace

Index JpegHeader::quantisation_sum(int table) const {
  const auto& steps = quantisation[at(table)];
  return std::accumulate(steps.begin(), steps.end(), Index{0});
}

std::uint32_t JpegHeader::quantisation_id() const {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const auto& table : quantisation)
    for (const std::uint16_t step : table)
      for (const unsigned byte : {step & 255u, unsigned{step} >> 8})
        hash = (hash ^ byte) * 16777619u;
  return hash;
}

bool for_each_jpeg_segment(std::span<const std::byte> file,
                           const std::function<void(unsigned, std::span<const std::byte>)>& visit) {
  Bytes bytes(file);
  if (bytes.u16() != 0xFFD8) return false;
  while (!bytes.ended()) {
    unsigned marker = bytes.u8();
    if (marker != 0xFF) continue;  // stray bytes between segments: decoders pass over them
    while (marker == 0xFF && !bytes.ended()) marker = bytes.u8();
    if (marker == 0xDA) return true;
    if (marker == 0xD9) return false;
    const bool alone = marker <= 0x01 || (marker >= 0xD0 && marker <= 0xD8);
    if (alone) continue;
    const unsigned length = bytes.u16();
    if (length < 2) return false;
    const auto segment = bytes.take(length - 2);
    if (!bytes.ended()) visit(marker, segment);
  }
  return false;
}

std::optional<JpegHeader> read_jpeg_header(std::span<const std::byte> file) {
  JpegHeader header;
  std::optional<bool> framed;  // false: a frame that makes no sense
  const bool scanned = for_each_jpeg_segment(file, [&](unsigned marker, auto segment) {
    if (marker == 0xDB) read_tables(Bytes(segment), header);
    if (is_frame(marker) && !framed) framed = read_frame(Bytes(segment), marker, header);
  });
  return scanned && framed.value_or(false) ? std::optional(header) : std::nullopt;
}

}  // namespace dfengine
