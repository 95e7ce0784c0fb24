// What a picture file shows without being decoded.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "engine/data/pictures/formats/picture_format.h"
#include "engine/data/pictures/jpeg_header.h"

namespace dfengine {

struct FileProperties {
  std::uintmax_t bytes = 0;
  FileFormat format;               // by the first bytes and not by the name
  Index h = 0, w = 0;              // 0 where the header does not say
  std::optional<JpegHeader> jpeg;  // of a JPEG whose header is whole
  std::optional<bool> exif;        // nothing where the header does not say
  std::string error;               // why the file cannot be used; empty where it can
};

// Reads a JPEG up to the end of its header, but not past 2 MiB, and the whole of a PNG or WebP,
// where Exif data may stand last. It never throws for what the file holds.
FileProperties read_file_properties(const std::filesystem::path& file);

}  // namespace dfengine
