// Published weights by name: "imagenet" stands for torchvision's MobileNetV2, downloaded once.
#pragma once

#include <filesystem>
#include <string_view>

namespace dfengine::weights {

inline constexpr std::string_view kImagenet = "imagenet";

// The file to read for what a person gave as weights: any path as it is, and for kImagenet the
// file's place in the cache ($XDG_CACHE_HOME, else ~/.cache, sub-folder dfengine), where it is
// downloaded if it is not there. DFENGINE_WEIGHTS_URL names another address; its file name carries
// the first digits of the content's SHA-256 as torchvision's do (NAME-0123abcd.pth), which are
// compared before the file counts. A download that broke off goes on where it stopped.
// Throws ModelFileError with the address, the place and the cause: no network, no such file, other
// content than the name promises, no cache folder, a build without libcurl.
std::filesystem::path find_weights(const std::filesystem::path& given);

}  // namespace dfengine::weights
