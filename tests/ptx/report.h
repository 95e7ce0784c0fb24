// Faults of the kernels under test, and what the interpreter cannot do.
#pragma once

#include <string>

#include "tests/ptx/machine.h"

namespace dfengine::ptx {

// Writes one line for each instruction and kind of fault, however often it happens, and counts all.
void report(const Warp& warp, const char* fault, const std::string& detail = "");
// A fault of the host's, or of a launch.
void report(const std::string& fault);
long long faults();

// The interpreter's own end: PTX it does not know, a runtime call used against CUDA's rules.
[[noreturn]] void stop(const std::string& reason);

std::string readable(std::string_view mangled);

}  // namespace dfengine::ptx
