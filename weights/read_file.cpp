// Chooses the reader by content.
#include "weights/read_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "kernels/base/error.h"
#include "kernels/base/unique_fd.h"
#include "weights/foreign_file.h"
#include "weights/hdf5/hdf5_file.h"
#include "weights/keras/keras_zip.h"
#include "weights/onnx/onnx_file.h"
#include "weights/safetensors.h"
#include "weights/torch/torch_file.h"
#include "weights/zip_archive.h"

namespace dfengine::weights {
namespace {

// Far above any MobileNetV2 file; keeps a sparse file from taking the machine's memory.
constexpr std::int64_t kMaxFileSize = std::int64_t{4} << 30;

[[noreturn]] void refuse(const std::filesystem::path& path, std::string_view cause) {
  throw ModelFileError(fmt::format("{}: {}", path.string(), cause));
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The file begins with a length below 2^32 and the header's first brace; no other format does.
bool looks_like_safetensors(std::string_view text) {
  constexpr std::string_view kUpperLength("\0\0\0\0", 4);
  return text.size() > 8 && text.substr(4, 4) == kUpperLength && text[8] == '{';
}

// Protobuf has no signature. A ModelProto is written in field order: ir_version (field 1, a small
// number), then a field that onnx.proto gives the model (producer, domain, version, text, graph,
// opset).
bool looks_like_onnx(std::string_view text) {
  constexpr std::string_view kNextFields("\x12\x1a\x22\x28\x32\x3a\x42");
  return text.size() > 2 && text[0] == '\x08' && text[1] > 0 &&
         kNextFields.find(text[2]) != std::string_view::npos;
}

#if !DFENGINE_MINIMAL
// PyTorch's archives and Keras' look alike from outside.
TensorFile parse_zip(std::span<const std::byte> bytes, const std::string& name) {
  ZipArchive archive(bytes, name);
  if (is_torch_zip(archive)) return parse_torch_zip(archive);
  if (is_keras_zip(archive)) return parse_keras_zip(archive);
  throw ModelFileError(name + ": " + describe_foreign_zip(archive.names()));
}
#endif

// A pickle of protocol 2 or later, as torch.save wrote before PyTorch 1.6.
bool looks_like_pickle(std::string_view text) {
  return text.size() > 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5;
}

TensorFile parse(std::span<const std::byte> bytes, const std::string& name,
                 [[maybe_unused]] const FileBeside& beside) {
  switch (sniff_format(bytes)) {
    case FileFormat::Safetensors:
      return parse_safetensors(bytes, name);
    case FileFormat::Unknown:
      break;
#if !DFENGINE_MINIMAL
    case FileFormat::TorchPickle:
      return parse_torch_legacy(bytes, name);
    case FileFormat::Zip:
      return parse_zip(bytes, name);
    case FileFormat::Hdf5:
      return parse_hdf5(bytes, name);
    case FileFormat::Onnx:
      return parse_onnx(bytes, name, beside);
#else
    default:
      refuse(name,
             "this build reads safetensors alone (DFENGINE_MINIMAL): dfengine convert makes "
             "one of it");
#endif
  }
  refuse(name, describe_foreign(bytes));
}

}  // namespace

std::vector<std::byte> read_file(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) refuse(path, fmt::format("cannot open: {}", std::strerror(errno)));
  struct stat info;
  if (fstat(fd.get(), &info) != 0) refuse(path, std::strerror(errno));
  if (S_ISDIR(info.st_mode)) refuse(path, describe_foreign_folder(path));
  if (!S_ISREG(info.st_mode)) refuse(path, "is not a regular file");
  if (info.st_size > kMaxFileSize) {
    refuse(path, fmt::format("{} bytes are too many for a weights file (limit {})", info.st_size,
                             kMaxFileSize));
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(info.st_size));
  std::size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t got = read(fd.get(), bytes.data() + at, bytes.size() - at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse(path, fmt::format("read failed at byte {}: {}", at, std::strerror(errno)));
    if (got == 0) refuse(path, fmt::format("became shorter while it was read, at byte {}", at));
    at += static_cast<std::size_t>(got);
  }
  return bytes;
}

std::string read_text(const std::filesystem::path& path) {
  return std::string(text_of(read_file(path)));
}

// Of safetensors.h, whose own file knows bytes alone.
TensorFile read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(read_file(path), path.string());
}

FileFormat sniff_format(std::span<const std::byte> file) {
  const std::string_view text = text_of(file);
  if (looks_like_safetensors(text)) return FileFormat::Safetensors;
  if (text.starts_with("PK\x03\x04")) return FileFormat::Zip;
  if (text.starts_with("\x89HDF\r\n\x1a\n")) return FileFormat::Hdf5;
  if (looks_like_pickle(text)) return FileFormat::TorchPickle;
  if (looks_like_onnx(text)) return FileFormat::Onnx;
  return FileFormat::Unknown;
}

TensorFile read_tensor_file(const std::filesystem::path& path) {
  return parse(read_file(path), path.string(),
               [&](const std::string& name) { return read_file(path.parent_path() / name); });
}

TensorFile parse_tensor_file(std::span<const std::byte> bytes, const std::string& name) {
  return parse(bytes, name, nothing_beside);
}

}  // namespace dfengine::weights
