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
  std::string error;               // why the file cannot be used; empty where it can
};

// Reads at most kJpegHeaderBytes of the file. It never throws for what the file holds.
FileProperties read_file_properties(const std::filesystem::path& file);

}  // namespace dfengine
