// Reads a whole file into memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

namespace dfengine::weights {

// The bytes of a regular file of at most 4 GiB. Throws ModelFileError with the path and the cause.
std::vector<std::byte> read_file(const std::filesystem::path& path);

}  // namespace dfengine::weights
