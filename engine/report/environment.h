// Says on what machine figures were made.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace dfengine::report {

using Facts = std::vector<std::pair<std::string, std::string>>;

// The processor's name, or "unknown".
std::string processor();

// The version of dfengine, the processor, the instruction set in use, the threads, and the GPU
// where this build can use one.
Facts environment(int threads);

}  // namespace dfengine::report
