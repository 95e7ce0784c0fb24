// The file that a name stands for: "imagenet" for torchvision's MobileNetV2, downloaded once, and a
// run's folder for the model in it.
#pragma once

#include <filesystem>
#include <string_view>

namespace dfengine::weights {

inline constexpr std::string_view kImagenet = "imagenet";

// The model that a run of train keeps in its folder.
inline constexpr const char* kKeptModel = "best.safetensors";

// The file to read for what a person gave as weights. A file is taken as it is, and of a folder
// kKeptModel where it has one. For kImagenet it
// is the file's place in the cache ($XDG_CACHE_HOME, else ~/.cache, sub-folder dfengine), and the
// file is downloaded if it is not there. DFENGINE_WEIGHTS_URL names another address; its file name
// must hold the first digits of the content's SHA-256 as torchvision's names do
// (NAME-0123abcd.pth), which are compared before the file is used. A download that broke off goes
// on where it stopped. Throws ModelFileError with the address, the place and the cause when there
// is no network, no such file, other content than the name promises, no cache folder, or no libcurl
// in this build.
std::filesystem::path find_weights(const std::filesystem::path& given);

}  // namespace dfengine::weights
