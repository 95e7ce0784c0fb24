// Where figures were made.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace dfengine::report {

using Facts = std::vector<std::pair<std::string, std::string>>;

// Version of dfengine, processor, instruction set in use, threads, and the GPU where this build can
// use one.
Facts environment(int threads);

}  // namespace dfengine::report
