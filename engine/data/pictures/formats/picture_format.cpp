#include "engine/data/pictures/formats/picture_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace dfengine {
namespace {

using namespace std::string_view_literals;
using Kind = FileFormat::Kind;

constexpr std::string_view kConvert = "convert it to JPEG, PNG or WebP";
constexpr std::string_view kFetch = "fetch the picture again";

struct Signature {
  std::string_view begin;  // of the file
  FileFormat format;
};

constexpr Signature kSignatures[] = {
    {"\xFF\xD8"sv, {"JPEG", Kind::Read}},
    {"\x89PNG\r\n\x1A\n"sv, {"PNG", Kind::Read}},
    {"GIF87a"sv, {"GIF", Kind::Picture, kConvert}},
    {"GIF89a"sv, {"GIF", Kind::Picture, kConvert}},
    {"II*\0"sv, {"TIFF", Kind::Picture, kConvert}},
    {"MM\0*"sv, {"TIFF", Kind::Picture, kConvert}},
    {"II+\0"sv, {"TIFF", Kind::Picture, kConvert}},
    {"MM\0+"sv, {"TIFF", Kind::Picture, kConvert}},
    {"\xFF\x0A"sv, {"JPEG XL", Kind::Picture, kConvert}},
    {"\0\0\0\x0CJXL \r\n\x87\n"sv, {"JPEG XL", Kind::Picture, kConvert}},
    {"\0\0\0\x0CjP  \r\n\x87\n"sv, {"JPEG 2000", Kind::Picture, kConvert}},
    {"\xFF\x4F\xFF\x51"sv, {"JPEG 2000", Kind::Picture, kConvert}},
    {"8BPS"sv, {"Photoshop", Kind::Picture, kConvert}},
    {"version https://git-lfs"sv, {"Git LFS pointer", Kind::Other, "git lfs pull"}},
    {"%PDF-"sv, {"PDF document", Kind::Other, kConvert}},
    {"PK\3\4"sv, {"zip archive", Kind::Other, "unpack it"}},
    {"\x1F\x8B"sv, {"gzip archive", Kind::Other, "unpack it"}},
    {"\0\5\x16\7"sv, {"AppleDouble file", Kind::Other, "remove it"}},
    {"{"sv, {"JSON text", Kind::Other, kFetch}}};

// ISO 14496-12: a box "ftyp" with a major brand, a version and the brands that it is compatible
// with.
struct Brand {
  std::string_view name;
  FileFormat format;
};
constexpr FileFormat kAvif = {"AVIF", Kind::Picture, kConvert};
constexpr FileFormat kHeic = {"HEIC", Kind::Picture, kConvert};
constexpr Brand kBrands[] = {{"avif", kAvif}, {"avis", kAvif}, {"heic", kHeic}, {"heix", kHeic},
                             {"heim", kHeic}, {"heis", kHeic}, {"hevc", kHeic}, {"hevx", kHeic},
                             {"mif1", kHeic}, {"msf1", kHeic}};

unsigned byte_at(std::string_view text, std::size_t at) {
  return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
}

FileFormat of_brands(std::string_view text) {
  const std::size_t box = byte_at(text, 2) << 8 | byte_at(text, 3);
  const std::string_view brands = text.substr(0, box);
  for (const Brand& brand : kBrands)  // "mif1" is last: others beside it say more
    for (std::size_t at = 8; at + 4 <= brands.size(); at += 4)
      if (at != 12 && brands.substr(at, 4) == brand.name) return brand.format;
  return {"MP4 or MOV video", Kind::Other, "take single pictures from it"};
}

// "BM" alone begins many a text: the size of the second header has few values.
bool is_bmp(std::string_view text) {
  constexpr std::array kHeaderSizes = {12u, 16u, 40u, 52u, 56u, 64u, 108u, 124u};
  return text.starts_with("BM") && text.size() >= 18 && byte_at(text, 15) == 0 &&
         byte_at(text, 16) == 0 && byte_at(text, 17) == 0 &&
         std::ranges::count(kHeaderSizes, byte_at(text, 14)) > 0;
}

// Of text that may begin with a byte order mark and space.
FileFormat of_markup(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  std::string lower(text.substr(0, kFormatBytes));
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  const std::string_view begin = lower;
  const bool xml = begin.starts_with("<?xml") || begin.starts_with("<!doctype svg");
  if (begin.starts_with("<svg") || (xml && begin.find("<svg") != begin.npos))
    return {"SVG", Kind::Picture, kConvert};
  if (begin.starts_with("<!doctype html") || begin.starts_with("<html") ||
      (xml && begin.find("<html") != begin.npos))
    return {"HTML page", Kind::Other, kFetch};
  if (xml) return {"XML text", Kind::Other, kFetch};
  return {};
}

}  // namespace

FileFormat file_format(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const Signature& s : kSignatures)
    if (text.starts_with(s.begin)) return s.format;
  if (is_bmp(text)) return {"BMP", Kind::Read};
  if (text.starts_with("RIFF") && text.substr(0, 12).ends_with("WEBP") && text.size() >= 12)
    return {"WebP", Kind::Read};
  if (text.size() >= 12 && text.substr(4, 4) == "ftyp") return of_brands(text);
  return of_markup(text);
}

std::string why_not_read(const FileFormat& format) {
  if (format.kind == Kind::Read) return "";
  if (format.name.empty()) return "not a JPEG, PNG, WebP or BMP picture";
  return fmt::format("its bytes are a {}{}, not a JPEG, PNG, WebP or BMP picture; {}", format.name,
                     format.kind == Kind::Picture ? " picture" : "", format.advice);
}

}  // namespace dfengine
