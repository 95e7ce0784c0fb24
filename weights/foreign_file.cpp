#include "weights/foreign_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <string_view>

#include "weights/tensor_file.h"

namespace dfengine::weights {
namespace {

using namespace std::string_view_literals;

constexpr const char* kReadable =
    "is none of safetensors, PyTorch .pth, Keras .h5 or .keras, ONNX, by its first bytes";

struct Signature {
  std::size_t at;
  std::string_view bytes;
  const char* what;
};
constexpr Signature kSignatures[] = {
    {0, "version https://git-lfs.github.com/spec/"sv,
     "is a Git LFS pointer, not the file itself; git lfs pull fetches it"},
    {4, "TFL3"sv,
     "is a TensorFlow Lite model, whose numbers are folded and often rounded; give the Keras or "
     "PyTorch file that it was made from"},
    {0, "GGUF"sv, "is a GGUF model of llama.cpp, no MobileNetV2"},
    {0, "\x93NUMPY"sv, "is one NumPy array; give the model's own file"},
    {0, "\x1f\x8b"sv, "is compressed by gzip; unpack it first"},
    {0, "BZh"sv, "is compressed by bzip2; unpack it first"},
    {0, "\xfd\x37zXZ"sv, "is compressed by xz; unpack it first"},
    {0, "\x28\xb5\x2f\xfd"sv, "is compressed by zstd; unpack it first"},
    {0, "7z\xbc\xaf\x27\x1c"sv, "is a 7z archive; unpack it first"},
    {0, "Rar!"sv, "is a RAR archive; unpack it first"},
    {257, "ustar"sv, "is a tar archive; unpack it first"},
    {0, "PK\x05\x06"sv, "is an empty zip archive"},
    {0,
     "\x7f"
     "ELF"sv,
     "is a program, no model"},
    {0, "%PDF"sv, "is a PDF document, no model"},
    {0, "\xff\xd8\xff"sv, "is a JPEG picture, no model"},
    {0, "\x89PNG"sv, "is a PNG picture, no model"},
    {0, "GIF8"sv, "is a GIF picture, no model"},
    {8, "WEBP"sv, "is a WebP picture, no model"}};

// Lower case, without what may stand before a document.
std::string beginning_of(std::string_view text) {
  constexpr std::size_t kEnough = 1024;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  std::string lower(text.substr(0, kEnough));
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

bool is_text(std::string_view content) {
  return std::ranges::all_of(content.substr(0, 1024), [](char c) {
    return static_cast<unsigned char>(c) >= ' ' || c == '\n' || c == '\r' || c == '\t';
  });
}

std::string first_line(std::string_view text) {
  return printable(text.substr(0, text.find_first_of("\r\n")));
}

std::string describe_text(std::string_view text) {
  const std::string lower = beginning_of(text);
  const auto contains = [&](const char* part) { return lower.find(part) != std::string::npos; };
  if (lower.starts_with("<!doctype html") || lower.starts_with("<html") || contains("<html"))
    return "is a web page (HTML), not weights: what was downloaded is a page about the file, or a "
           "sign-in; download the file itself";
  if (lower.starts_with("<?xml") || lower.starts_with("<"))
    return "is an XML text, no weights: \"" + first_line(text) + "\"";
  if (lower.starts_with("{") || lower.starts_with("["))
    return "is a JSON text, which describes something and holds no weights: \"" + first_line(text) +
           "\"";
  if (contains("/annex/objects/"))
    return "is a git-annex pointer, not the file itself; git annex get fetches it";
  return "is a text, no weights: \"" + first_line(text) + "\"";
}

std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 3;
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i)
    shown.push_back(printable(names[i]));
  return fmt::format("{}{}", fmt::join(shown, ", "), names.size() > kMost ? ", ..." : "");
}

bool ends_in_weights(std::string_view name) {
  constexpr std::array kEndings = {".safetensors"sv, ".pth"sv,  ".pt"sv,    ".ckpt"sv, ".bin"sv,
                                   ".h5"sv,          ".hdf5"sv, ".keras"sv, ".onnx"sv};
  return std::ranges::any_of(kEndings, [&](std::string_view e) { return name.ends_with(e); });
}

}  // namespace

std::string describe_foreign(std::span<const std::byte> content) {
  const std::string_view text(reinterpret_cast<const char*>(content.data()), content.size());
  if (text.empty()) return "is empty";
  for (const Signature& s : kSignatures)
    if (text.size() >= s.at && text.substr(s.at).starts_with(s.bytes)) return s.what;
  if (std::ranges::all_of(text, [](char c) { return c == '\0'; }))
    return "holds nothing but zeros: the download or the disk failed";
  if (is_text(text)) return describe_text(text);
  return kReadable;
}

std::string describe_foreign_zip(const std::vector<std::string>& names) {
  const auto any = [&](auto matches) { return std::ranges::any_of(names, matches); };
  if (!names.empty() &&
      std::ranges::all_of(names, [](const std::string& n) { return n.ends_with(".npy"); }))
    return "is a NumPy archive (.npz) of " + some_of(names) + "; give the model's own file";
  if (any([](const std::string& n) { return n.ends_with("saved_model.pb"); }))
    return "is a zip archive of a TensorFlow SavedModel, which is not read; in Python: "
           "model.save(\"model.keras\")";
  if (any(ends_in_weights))
    return "is a zip archive of other files; unpack it and give one of them: " + some_of(names);
  return "is a zip archive, but neither torch.save's (data.pkl) nor Keras' (model.weights.h5): it "
         "holds " +
         some_of(names);
}

std::string describe_foreign_folder(const std::filesystem::path& folder) {
  std::vector<std::string> weights, others;
  std::error_code unreadable;
  for (const auto& entry : std::filesystem::directory_iterator(folder, unreadable)) {
    const std::string name = entry.path().filename().string();
    (ends_in_weights(name) ? weights : others).push_back(name);
  }
  if (unreadable) return "is a folder that cannot be read: " + unreadable.message();
  std::ranges::sort(weights);
  std::ranges::sort(others);
  if (std::ranges::find(others, "saved_model.pb") != others.end())
    return "is a TensorFlow SavedModel, which is not read; in Python: model.save(\"model.keras\")";
  if (!weights.empty()) return "is a folder; name the file in it: " + some_of(weights);
  if (others.empty()) return "is an empty folder";
  return "is a folder without weights or a run's best.safetensors; it holds " + some_of(others);
}

}  // namespace dfengine::weights
