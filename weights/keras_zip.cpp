#include "weights/keras_zip.h"

#include <fmt/format.h>

#include "kernels/error.h"

#ifdef DFENGINE_ZIP
#include <zip.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "weights/hdf5_file.h"

namespace dfengine::weights {
namespace {

constexpr const char* kWeights = "model.weights.h5";
constexpr const char* kConfig = "config.json";
constexpr const char* kMetadata = "metadata.json";
// Keras' own are below 200 KB.
constexpr std::uint64_t kMaxTextSize = std::uint64_t{4} << 20;
// Keras stores its members as they are; other tools' compression gains little on weights.
constexpr std::uint64_t kMaxGrowth = 16;

struct Closer {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* member) const { zip_fclose(member); }
};
using Archive = std::unique_ptr<zip_t, Closer>;
using Member = std::unique_ptr<zip_file_t, Closer>;

// Null, with the cause, for what libzip cannot open.
Archive open_archive(std::span<const std::byte> file, std::string& cause) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(file.data(), file.size(), 0, &error);
  zip_t* archive = source == nullptr ? nullptr : zip_open_from_source(source, ZIP_RDONLY, &error);
  if (archive == nullptr) {
    cause = printable(zip_error_strerror(&error));
    zip_source_free(source);
  }
  zip_error_fini(&error);
  return Archive(archive);
}

// The member's bytes, at most `most`.
std::vector<std::byte> read_member(zip_t* archive, zip_int64_t index, const char* member,
                                   std::uint64_t most, const std::string& file) {
  const auto refuse = [&](const std::string& cause) {
    throw ModelFileError(fmt::format("{}: zip: {}: {}", file, member, cause));
  };
  zip_stat_t info;
  const auto at = static_cast<zip_uint64_t>(index);
  if (zip_stat_index(archive, at, 0, &info) != 0 || (info.valid & ZIP_STAT_SIZE) == 0)
    refuse("cannot be found");
  if (info.size > most)
    refuse(fmt::format("{} bytes are more than the {} expected", info.size, most));
  const Member in(zip_fopen_index(archive, at, 0));
  if (!in) refuse(printable(zip_strerror(archive)));
  std::vector<std::byte> bytes(static_cast<std::size_t>(info.size));
  std::size_t got = 0;
  while (got < bytes.size()) {
    const zip_int64_t n = zip_fread(in.get(), bytes.data() + got, bytes.size() - got);
    if (n <= 0)
      refuse(
          fmt::format("read failed at byte {}: {}", got, printable(zip_file_strerror(in.get()))));
    got += static_cast<std::size_t>(n);
  }
  // libzip compares the checksum when it reaches the end.
  std::byte beyond;
  if (zip_fread(in.get(), &beyond, 1) != 0)
    refuse(fmt::format("damaged: {}", printable(zip_file_strerror(in.get()))));
  return bytes;
}

// The text of a member, empty if the archive has none.
std::string read_text(zip_t* archive, const char* member, const std::string& file) {
  const zip_int64_t index = zip_name_locate(archive, member, 0);
  if (index < 0) return "";
  const auto bytes = read_member(archive, index, member, kMaxTextSize, file);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string version_in(const std::string& metadata) {
  // No entry of Keras' is nested, so a depth of two is all that is kept.
  const auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    return depth < 2;
  };
  const auto json = nlohmann::json::parse(metadata, shallow, false);
  const auto found = json.is_object() ? json.find("keras_version") : json.end();
  if (found == json.end() || !found->is_string()) return "";
  return printable(found->get<std::string>());
}

}  // namespace

bool is_keras_zip(std::span<const std::byte> file) {
  std::string cause;
  const Archive archive = open_archive(file, cause);
  return archive && zip_name_locate(archive.get(), kWeights, 0) >= 0;
}

TensorFile parse_keras_zip(std::span<const std::byte> file, const std::string& name_for_errors) {
  std::string cause;
  const Archive archive = open_archive(file, cause);
  if (!archive) throw ModelFileError(fmt::format("{}: zip: {}", name_for_errors, cause));
  const zip_int64_t index = zip_name_locate(archive.get(), kWeights, 0);
  if (index < 0) throw ModelFileError(fmt::format("{}: zip: no {}", name_for_errors, kWeights));
  const auto weights =
      read_member(archive.get(), index, kWeights, kMaxGrowth * file.size(), name_for_errors);
  TensorFile out = parse_hdf5(weights, fmt::format("{}: {}", name_for_errors, kWeights));
  const auto add = [&](const char* key, std::string text) {
    if (!text.empty()) out.metadata[key] = std::move(text);
  };
  add("@model_config", read_text(archive.get(), kConfig, name_for_errors));
  add("@keras_version", version_in(read_text(archive.get(), kMetadata, name_for_errors)));
  return out;
}

}  // namespace dfengine::weights

#else

namespace dfengine::weights {

bool is_keras_zip(std::span<const std::byte>) {
  return false;
}

TensorFile parse_keras_zip(std::span<const std::byte>, const std::string& name_for_errors) {
  throw ModelFileError(
      fmt::format("{}: is a zip archive, and this dfengine was built without libzip; install it "
                  "(Debian: libzip-dev) and configure with -DDFENGINE_ZIP=ON",
                  name_for_errors));
}

}  // namespace dfengine::weights

#endif
