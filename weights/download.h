// A file of the web into a local one (libcurl, CMake option DFENGINE_DOWNLOAD).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace dfengine::weights {

// Downloads url into `part`, which is appended to when it holds the beginning from an earlier try.
// Proxies are taken from the environment as curl does. Throws ModelFileError with the cause alone:
// no connection, an answer other than success, more bytes than `most`, no libcurl in this build.
void download(const std::string& url, const std::filesystem::path& part, std::uint64_t most);

}  // namespace dfengine::weights
