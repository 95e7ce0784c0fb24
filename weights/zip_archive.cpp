// Zip archives through libzip; without the library every archive is refused.
#include "weights/zip_archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/base/error.h"
#include "weights/tensor_file.h"

#if DFENGINE_ZIP
#include <zip.h>
#endif

namespace dfengine::weights {

#if DFENGINE_ZIP

namespace {

// Float weights hardly shrink, but masks and zeros do. A whole archive may grow by this factor, and
// one of a few bytes by a little more.
constexpr std::uint64_t kMaxGrowth = 16;
constexpr std::uint64_t kAlwaysReadable = 1 << 20;

struct FileClose {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

struct ErrorText {
  zip_error_t error;
  ErrorText() { zip_error_init(&error); }
  ErrorText(const ErrorText&) = delete;
  ErrorText& operator=(const ErrorText&) = delete;
  ~ErrorText() { zip_error_fini(&error); }
  std::string text() { return zip_error_strerror(&error); }
};

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> file, std::string name_for_errors)
    : file_name_(std::move(name_for_errors)),
      readable_(kAlwaysReadable + kMaxGrowth * file.size()) {
  ErrorText error;
  zip_source_t* source = zip_source_buffer_create(file.data(), file.size(), 0, &error.error);
  if (source != nullptr)
    zip_ = {zip_open_from_source(source, ZIP_RDONLY, &error.error), zip_discard};
  if (!zip_) {
    if (source != nullptr) zip_source_free(source);
    throw ModelFileError(fmt::format("{}: zip archive of {} bytes: {}; the file is damaged or cut",
                                     file_name_, file.size(), error.text()));
  }
  const auto count = static_cast<zip_uint64_t>(zip_get_num_entries(zip_.get(), 0));
  for (zip_uint64_t i = 0; i < count; ++i) {
    const char* name = zip_get_name(zip_.get(), i, ZIP_FL_ENC_RAW);
    if (name == nullptr) fail(fmt::format("number {}", i), zip_strerror(zip_.get()));
    names_.emplace_back(name);
  }
  if (const auto twice = repeated(names_, std::identity())) fail(*twice, "appears twice");
}

std::vector<std::byte> ZipArchive::read(std::string_view entry) {
  const auto found = std::ranges::find(names_, entry);
  if (found == names_.end()) fail(entry, "is missing");
  const auto index = static_cast<zip_uint64_t>(found - names_.begin());
  zip_stat_t info;
  constexpr zip_uint64_t kNeeded =
      ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if (zip_stat_index(zip_.get(), index, 0, &info) != 0) fail(entry, zip_strerror(zip_.get()));
  if ((info.valid & kNeeded) != kNeeded) fail(entry, "has no complete header");
  if (info.encryption_method != ZIP_EM_NONE) fail(entry, "is encrypted");
  if (info.comp_method != ZIP_CM_STORE && info.comp_method != ZIP_CM_DEFLATE) {
    fail(entry, fmt::format("has compression method {}; stored and deflated entries are read",
                            info.comp_method));
  }
  if (info.size > readable_) {
    fail(entry, fmt::format("claims {} bytes, more than an archive of this size may unpack to",
                            info.size));
  }
  readable_ -= info.size;
  return read_all(index, info.size, entry);
}

std::vector<std::byte> ZipArchive::read_all(std::uint64_t index, std::uint64_t size,
                                            std::string_view entry) {
  const std::unique_ptr<zip_file_t, FileClose> file(zip_fopen_index(zip_.get(), index, 0));
  if (!file) fail(entry, zip_strerror(zip_.get()));
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  std::size_t at = 0;
  while (at < bytes.size()) {
    const zip_int64_t got = zip_fread(file.get(), bytes.data() + at, bytes.size() - at);
    if (got < 0) fail(entry, fmt::format("at its byte {}: {}", at, zip_file_strerror(file.get())));
    if (got == 0) fail(entry, fmt::format("ends at its byte {} of {}", at, size));
    at += static_cast<std::size_t>(got);
  }
  // libzip compares the checksum when the end is reached.
  std::byte beyond;
  const zip_int64_t got = zip_fread(file.get(), &beyond, 1);
  if (got < 0) fail(entry, zip_file_strerror(file.get()));
  if (got > 0) fail(entry, fmt::format("is longer than the {} bytes it claims", size));
  return bytes;
}

#else

ZipArchive::ZipArchive(std::span<const std::byte>, std::string name_for_errors)
    : file_name_(std::move(name_for_errors)) {
  throw ModelFileError(fmt::format(
      "{}: is a zip archive, and this build reads none: install libzip-dev and configure with "
      "-DDFENGINE_ZIP=ON",
      file_name_));
}

std::vector<std::byte> ZipArchive::read(std::string_view entry) {
  fail(entry, "cannot be read without libzip");
}

#endif

std::string ZipArchive::read_text(std::string_view entry) {
  if (!holds(entry)) return "";
  const std::vector<std::byte> bytes = read(entry);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool ZipArchive::holds(std::string_view entry) const {
  return std::ranges::find(names_, entry) != names_.end();
}

void ZipArchive::fail(std::string_view entry, std::string_view cause) const {
  throw ModelFileError(
      fmt::format("{}: zip entry \"{}\": {}", file_name_, printable(entry), cause));
}

}  // namespace dfengine::weights
