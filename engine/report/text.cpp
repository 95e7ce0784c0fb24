#include "engine/report/text.h"

#include <algorithm>
#include <cstdint>

namespace dfengine::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

// Bytes of the well-formed UTF-8 character that begins `text`; 0 if there is none (Unicode 15,
// table 3-7).
std::size_t character_bytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  const std::size_t n = first >= 0xC2 && first <= 0xDF   ? 2
                        : (first & 0xF0) == 0xE0         ? 3
                        : first >= 0xF0 && first <= 0xF4 ? 4
                                                         : 0;
  if (n == 0 || text.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i)
    if (!is_continuation(text[i])) return 0;
  const auto second = static_cast<unsigned char>(text[1]);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool surrogate = first == 0xED && second >= 0xA0;
  const bool beyond = first == 0xF4 && second >= 0x90;
  return overlong || surrogate || beyond ? 0 : n;
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
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t n = character_bytes(text);
    const char c = text[0];
    const auto code = static_cast<unsigned char>(c);
    const bool forbidden = (code < 0x20 && c != '\t' && c != '\n' && c != '\r') || code == 0x7F;
    if (n == 0 || forbidden)
      out += kReplacement;
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += text.substr(0, n);
    text.remove_prefix(std::max<std::size_t>(n, 1));
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
