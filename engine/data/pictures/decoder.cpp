#include "engine/data/pictures/decoder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <system_error>

#include "engine/data/open_file.h"
#include "engine/data/pictures/decode_checks.h"
#include "engine/data/pictures/exif.h"
#include "engine/data/pictures/formats/bmp_decode.h"
#include "engine/data/pictures/formats/picture_format.h"
#include "engine/data/pictures/formats/png_decode.h"
#include "engine/data/pictures/formats/webp_decode.h"
#include "engine/data/pictures/jpeg.h"
#include "kernels/base/unique_fd.h"

namespace dfengine {
namespace {

// One picture of the largest size must not cost a program that runs for months its memory.
constexpr std::size_t kKeptBytes = std::size_t{64} << 20;

void check_file_size(std::uintmax_t bytes, const std::string& name) {
  if (bytes <= kMaxImageFileBytes) return;
  fail_decoding(name, fmt::format("{} bytes pass the limit of {}", bytes, kMaxImageFileBytes));
}

void read_picture_file(const std::string& name, std::vector<std::byte>& bytes) {
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  const UniqueFd file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
    throw Error(name + ": " + std::generic_category().message(errno));
  if (!file && errno == EACCES) {
    fail_reading(name, "the file cannot be opened; check its permissions");
  }
  if (!file && errno == ENOENT) fail_reading(name, absence_of(name));
  struct stat status = {};
  if (!file || ::fstat(file.get(), &status) != 0) {
    fail_reading(name, std::generic_category().message(errno));
  }
  if (!S_ISREG(status.st_mode)) fail_decoding(name, "not a file");
  check_file_size(static_cast<std::uintmax_t>(status.st_size), name);
  try {
    bytes.resize(static_cast<std::size_t>(status.st_size));
  } catch (const std::bad_alloc&) {
    fail_for_memory(name, status.st_size);
  }
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_reading(name, "the file cannot be read");
    done += static_cast<std::size_t>(n);
  }
}

}  // namespace

ImageDecoder::ImageDecoder(Index max_pixels) : max_pixels_(max_pixels) {
  constexpr Index kMost = Index{1} << 30;
  if (max_pixels < 1 || max_pixels > kMost) {
    throw UsageError(fmt::format("max-pixels {}: from 1 to {}", max_pixels, kMost));
  }
}

Image& ImageDecoder::decode(const std::filesystem::path& file) {
  read_picture_file(file.native(), file_);
  return decode(file_, file.native());
}

Image& ImageDecoder::decode(std::span<const std::byte> bytes, const std::string& name) try {
  for (Image* image : {&image_, &spare_})
    if (image->rgb.capacity() > kKeptBytes) *image = {};
  image_.h = image_.w = 0;
  if (bytes.empty()) fail_decoding(name, "the file is empty");
  check_file_size(bytes.size(), name);
  const FileFormat format = file_format(bytes);
  if (format.kind != FileFormat::Kind::Read) fail_decoding(name, why_not_read(format));
  if (format.name == "JPEG") {
    decode_jpeg(bytes, name, max_pixels_, image_);
  } else if (format.name == "PNG") {
    decode_png(bytes, name, max_pixels_, image_);
#if !DFENGINE_MINIMAL
  } else if (format.name == "WebP") {
    decode_webp(bytes, name, max_pixels_, image_);
  } else {
    decode_bmp(bytes, name, max_pixels_, image_);
#else
  } else {
    fail_decoding(name, fmt::format("this is a {}, and this build reads JPEG and PNG alone "
                                    "(DFENGINE_MINIMAL): convert it",
                                    format.name));
#endif
  }
  apply_orientation(exif_orientation(bytes), image_, spare_);
  return image_;
} catch (const std::bad_alloc&) {
  fail_for_memory(name, image_.h * image_.w * 3);
}

Image decode_image(std::span<const std::byte> bytes, const std::string& name) {
  return std::move(ImageDecoder().decode(bytes, name));
}

Image decode_image(const std::filesystem::path& file) {
  return std::move(ImageDecoder().decode(file));
}

}  // namespace dfengine
