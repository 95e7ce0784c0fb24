#include "engine/data/sets/listing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <span>

#include "engine/data/pictures/formats/picture_format.h"
#include "engine/data/sets/class_names.h"

namespace dfengine {
namespace {

constexpr std::array kEndings = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"};

// In lower case.
constexpr std::array kLeftovers = {
    "thumbs.db", "ehthumbs.db",  "desktop.ini", "__macosx",    "@eadir",
    "#recycle",  "$recycle.bin", "lost+found",  "__pycache__", "system volume information"};

// Copies that editors keep, and downloads that did not end.
constexpr std::string_view kUnfinished[] = {".bak", ".orig", ".swp", ".part", ".crdownload"};

}  // namespace

std::string leftover_kind(std::string_view name) {
  if (name.starts_with("._")) return "._*";
  if (name == ".DS_Store" || name == ".ipynb_checkpoints") return std::string(name);
  if (name.starts_with(".")) return "hidden";
  if (name.ends_with("~") || (name.starts_with("#") && name.ends_with("#"))) return "backup";
  const std::string lower = lower_case(name);
  for (const std::string_view ending : kUnfinished)
    if (lower.ends_with(ending)) return std::string(ending);
  return std::ranges::count(kLeftovers, lower) > 0 ? std::string(name) : "";
}

std::string other_kind(const std::filesystem::path& file) {
  const std::string ending = lower_case(file.extension().string());
  return ending.empty() ? "without an ending" : ending;
}

bool is_picture(const std::filesystem::path& file) {
  const std::string ending = lower_case(file.extension().string());
  if (std::ranges::count(kEndings, ending) > 0) return true;
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return false;  // a pipe would wait
  std::array<char, kFormatBytes> bytes{};
  std::ifstream stream(file, std::ios::binary);
  stream.read(bytes.data(), bytes.size());
  const auto got = static_cast<std::size_t>(stream.gcount());
  return file_format(std::as_bytes(std::span(bytes).first(got))).kind != FileFormat::Kind::Other;
}

std::string describe(const PassedOver& passed_over) {
  std::string text;
  for (const auto& [kind, count] : passed_over)
    text += fmt::format("{}{} {}", text.empty() ? "passed over: " : ", ", count, kind);
  return text;
}

}  // namespace dfengine
