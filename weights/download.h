// Downloads a file (libcurl, CMake option DFENGINE_DOWNLOAD).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace dfengine::weights {

// Downloads url into `part`. When that holds the beginning from an earlier try, the rest is
// appended. Proxies are taken from the environment as curl does. Throws ModelFileError, which holds
// the cause alone, when there is no connection, an answer other than success, more bytes than
// `most`, or no libcurl in this build.
void download(const std::string& url, const std::filesystem::path& part, std::uint64_t most);

}  // namespace dfengine::weights
