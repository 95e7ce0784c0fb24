#include "engine/report/text.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels/base/json_bytes.h"

namespace dfengine::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

// In units of the font size, of DejaVu Sans: the widest of the fonts a reader is likely to have.
double character_width(char c) {
  constexpr std::string_view kNarrow = "ijlftrI.,:;'|!()[] -/";
  constexpr std::string_view kWide = "mwMW@%";
  if (kNarrow.find(c) != kNarrow.npos) return 0.41;
  if (kWide.find(c) != kWide.npos) return 1.0;
  if (c >= 'A' && c <= 'Z') return 0.78;
  return 0.64;
}

}  // namespace

std::string escape(std::string_view text) {
  constexpr std::pair<char, std::string_view> kEntities[] = {
      {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
  std::string out;
  for (const char c : readable(std::string(text))) {
    const auto entity = std::ranges::find(kEntities, c, [](const auto& e) { return e.first; });
    const bool forbidden = (c >= 0 && c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F;
    if (entity != std::end(kEntities))
      out += entity->second;
    else if (forbidden)
      out += kReplacement;
    else
      out += c;
  }
  return out;
}

double text_width(std::string_view text) {
  double width = 0;
  for (char c : text)
    if (!is_continuation(c)) width += static_cast<signed char>(c) < 0 ? 1.0 : character_width(c);
  return width;
}

std::string shorten(std::string_view text, double width) {
  if (text_width(text) <= width) return std::string(text);
  while (!text.empty() && text_width(text) + 1.0 > width) {
    while (text.size() > 1 && is_continuation(text.back())) text.remove_suffix(1);
    text.remove_suffix(1);
  }
  return std::string(text) + "\xE2\x80\xA6";
}

std::string data_uri(std::string_view mime, std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out = "data:" + std::string(mime) + ";base64,";
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (j < n ? std::to_integer<std::uint32_t>(bytes[i + j]) : 0);
    for (std::size_t j = 0; j < 4; ++j) out += j <= n ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

}  // namespace dfengine::report
