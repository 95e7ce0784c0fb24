#include "engine/data/pictures/exif.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/pictures/jpeg_header.h"

namespace dfengine {
namespace {

using Bytes = std::span<const std::byte>;

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool begins(Bytes bytes, std::string_view text) {
  return text_of(bytes).starts_with(text);
}

// Bytes from `at` on, none where there are none: hostile offsets end a search instead of a program.
Bytes after(Bytes bytes, std::size_t at) {
  return bytes.subspan(std::min(at, bytes.size()));
}

// An unsigned number of `size` bytes; 0 where the bytes end.
std::uint32_t number(Bytes bytes, std::size_t at, int size, bool big_endian) {
  const Bytes from = after(bytes, at);
  if (from.size() < static_cast<std::size_t>(size)) return 0;
  std::uint32_t value = 0;
  for (int i = 0; i < size; ++i) {
    const auto byte = static_cast<std::size_t>(big_endian ? i : size - 1 - i);
    value = value << 8 | static_cast<std::uint32_t>(from[byte]);
  }
  return value;
}

// The size of TIFF's whole numbers (SHORT, LONG, SBYTE, SSHORT, SLONG, IFD), 0 for other types.
int integer_bytes(std::uint32_t type) {
  switch (type) {
    case 6:
      return 1;
    case 3:
    case 8:
      return 2;
    case 4:
    case 9:
    case 13:
      return 4;
    default:
      return 0;
  }
}

// Of a TIFF header and its first directory; nothing where it has no such tag.
std::optional<int> orientation_of_tiff(Bytes tiff) {
  constexpr std::uint32_t kOrientation = 0x0112;
  const bool big = begins(tiff, "MM");
  const Bytes magic = after(tiff, 2);
  if (!big && !begins(tiff, "II")) return std::nullopt;
  if (!begins(magic, {"\0*", 2}) && !begins(magic, {"*\0", 2})) return std::nullopt;
  const Bytes directory = after(tiff, number(tiff, 4, 4, big));
  const std::uint32_t entries = number(directory, 0, 2, big);
  for (std::size_t i = 0; i < entries; ++i) {
    const Bytes entry = after(directory, 2 + 12 * i);
    if (number(entry, 0, 2, big) != kOrientation) continue;
    const int size = integer_bytes(number(entry, 2, 2, big));
    const std::uint32_t count = number(entry, 4, 4, big);
    if (size == 0 || count == 0) continue;
    // What is longer than four bytes stands elsewhere.
    const bool here = count <= 4 / static_cast<std::uint32_t>(size);
    const Bytes value = here ? after(entry, 8) : after(tiff, number(entry, 8, 4, big));
    const std::uint32_t turn = number(value, 0, size, big);
    return turn >= 1 && turn <= 8 ? static_cast<int>(turn) : 1;
  }
  return std::nullopt;
}

// Of an XMP packet: an attribute or an element.
std::optional<int> orientation_of_xmp(std::string_view xmp) {
  for (std::size_t at = 0;;) {
    constexpr std::string_view kName = "tiff:Orientation";
    at = xmp.find(kName, at);
    if (at == xmp.npos) return std::nullopt;
    at += kName.size();
    std::string_view value = xmp.substr(at);
    value.remove_prefix(value.starts_with("=\"") ? 2 : value.starts_with(">") ? 1 : value.size());
    if (!value.empty() && value[0] >= '1' && value[0] <= '8') return value[0] - '0';
  }
}

// zlib's stream as text; empty where it is damaged or longer than any note.
std::string inflated(Bytes bytes) {
  constexpr std::size_t kFirst = 4096, kMost = std::size_t{1} << 20;
  z_stream stream = {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  if (inflateInit(&stream) != Z_OK) return "";
  std::string text;
  int result = Z_OK;
  while (result == Z_OK && text.size() < kMost) {
    const std::size_t had = text.size();
    text.resize(std::min(kMost, std::max(kFirst, 2 * had)));
    stream.next_out = reinterpret_cast<Bytef*>(text.data() + had);
    stream.avail_out = static_cast<uInt>(text.size() - had);
    result = inflate(&stream, Z_NO_FLUSH);
    text.resize(text.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  return result == Z_STREAM_END ? text : "";
}

// Text in a picture file, which costs nothing until it is read: a file may hold any number of them.
struct Text {
  Bytes bytes;
  bool compressed = false;

  std::string read() const { return compressed ? inflated(bytes) : std::string(text_of(bytes)); }
};

// Where a picture file may say how it stands. Of two notes of one kind the last counts.
struct Notes {
  Bytes exif;        // a TIFF header and what follows it
  Text exif_in_hex;  // the same as ImageMagick writes it into the text of a PNG
  Text xmp;
};

Notes notes_of_jpeg(Bytes file) {
  Notes notes;
  for_each_jpeg_segment(file, [&](unsigned marker, Bytes body) {
    constexpr unsigned kApp1 = 0xE1;
    constexpr std::string_view kExif = {"Exif\0\0", 6},
                               kXmp = {"http://ns.adobe.com/xap/1.0/\0", 29};
    if (marker != kApp1) return;
    if (begins(body, kExif) && notes.exif.empty()) notes.exif = after(body, kExif.size());
    if (begins(body, kXmp)) notes.xmp = {after(body, kXmp.size())};
  });
  return notes;
}

// Takes the bytes before the next NUL, and the NUL.
std::string_view take_word(std::string_view& text) {
  const std::string_view word = text.substr(0, text.find('\0'));
  text.remove_prefix(std::min(word.size() + 1, text.size()));
  return word;
}

// The texts of a PNG: plain (tEXt), compressed (zTXt), and with languages (iTXt).
void note_png_text(std::string_view kind, Bytes body, Notes& notes) {
  std::string_view text = text_of(body);
  const std::string_view keyword = take_word(text);
  const bool hex = keyword == "Raw profile type exif", xmp = keyword == "XML:com.adobe.xmp";
  if (!hex && !xmp) return;
  bool compressed = kind == "zTXt";
  if (compressed) text.remove_prefix(std::min<std::size_t>(1, text.size()));  // the method
  if (kind == "iTXt") {
    compressed = !text.empty() && text[0] != 0;
    text.remove_prefix(std::min<std::size_t>(2, text.size()));
    take_word(text);  // the language
    take_word(text);  // the keyword in it
  }
  Text& note = hex ? notes.exif_in_hex : notes.xmp;
  note = {std::as_bytes(std::span(text)), compressed};
}

Notes notes_of_png(Bytes file) {
  Notes notes;
  for (Bytes rest = after(file, 8); rest.size() >= 12;) {
    const std::size_t length = number(rest, 0, 4, true);
    const Bytes body = after(rest, 8).first(std::min(rest.size() - 8, length));
    const std::string_view kind = text_of(rest.subspan(4, 4));
    if (kind == "eXIf") notes.exif = body;
    if (kind == "tEXt" || kind == "zTXt" || kind == "iTXt") note_png_text(kind, body, notes);
    rest = after(rest, length + 12);
  }
  return notes;
}

Notes notes_of_webp(Bytes file) {
  Notes notes;
  for (Bytes rest = after(file, 12); rest.size() >= 8;) {
    const std::size_t length = number(rest, 4, 4, false);
    const Bytes body = after(rest, 8).first(std::min(rest.size() - 8, length));
    if (begins(rest, "EXIF")) notes.exif = body;
    if (begins(rest, "XMP ")) notes.xmp = {body};
    rest = after(rest, 8 + length + length % 2);
  }
  return notes;
}

// Three lines, an empty one, the name and the length, and then digits in lines.
std::vector<std::byte> bytes_of_hex(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const std::size_t end = text.find('\n');
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  std::vector<std::byte> bytes;
  std::optional<unsigned> high;
  for (const char c : text) {
    const std::size_t digit =
        std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20));
    if (digit == std::string_view::npos) continue;
    const auto value = static_cast<unsigned>(digit);
    if (high) bytes.push_back(static_cast<std::byte>(*high << 4 | value));
    high = high ? std::nullopt : std::optional(value);
  }
  return bytes;
}

Notes notes_of(Bytes file) {
  if (begins(file, "\xFF\xD8")) return notes_of_jpeg(file);
  if (begins(file, "\x89PNG")) return notes_of_png(file);
  if (begins(file, "RIFF")) return notes_of_webp(file);
  return {};
}

}  // namespace

bool has_exif(Bytes file) {
  const Notes notes = notes_of(file);
  return !notes.exif.empty() || !notes.exif_in_hex.bytes.empty();
}

int exif_orientation(Bytes file) {
  Notes notes = notes_of(file);
  std::vector<std::byte> bytes;
  if (notes.exif.empty()) {
    bytes = bytes_of_hex(notes.exif_in_hex.read());
    notes.exif = bytes;
  }
  while (begins(notes.exif, {"Exif\0\0", 6})) notes.exif = after(notes.exif, 6);
  const std::optional<int> by_exif = orientation_of_tiff(notes.exif);
  return by_exif ? *by_exif : orientation_of_xmp(notes.xmp.read()).value_or(1);
}

void apply_orientation(int orientation, Image& image, Image& spare) {
  if (orientation <= 1 || orientation > 8) return;
  const bool swaps = orientation >= 5;  // rows become columns
  const bool from_right = orientation == 2 || orientation == 3 || orientation >= 7;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  // Steps through the stored picture for one step right and one step down in the seen one.
  const Index across = from_right ? -1 : 1, down = from_bottom ? -image.w : image.w;
  const Index right = swaps ? down : across, below = swaps ? across : down;
  spare.h = swaps ? image.w : image.h;
  spare.w = swaps ? image.h : image.w;
  spare.rgb.resize(image.rgb.size());
  const std::uint8_t* first = image.rgb.data() + 3 * ((from_right ? image.w - 1 : 0) +
                                                      (from_bottom ? image.h - 1 : 0) * image.w);
  std::uint8_t* out = spare.rgb.data();
  for (Index y = 0; y < spare.h; ++y) {
    for (Index x = 0; x < spare.w; ++x, out += 3) {
      std::memcpy(out, first + 3 * (y * below + x * right), 3);
    }
  }
  std::swap(image, spare);
}

}  // namespace dfengine
