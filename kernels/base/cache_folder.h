// Where files lie that a program may keep between runs and make again.
#pragma once

#include <filesystem>
#include <optional>

namespace dfengine {

// $XDG_CACHE_HOME, else ~/.cache, sub-folder dfengine; nothing where the environment names neither.
// It need not be there yet.
std::optional<std::filesystem::path> cache_folder();

}  // namespace dfengine
