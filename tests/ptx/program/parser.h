// From PTX text to a kernel's code.
#pragma once

#include "tests/ptx/program/program.h"

namespace dfengine::ptx {

// A module's kernels: names and where their ".entry" stands. Finds the source files' names too.
std::vector<Kernel> kernels_of(const std::shared_ptr<Module>& module);

// Stops the program where the text holds what the interpreter does not know.
std::unique_ptr<const Code> parse(const Kernel& kernel);

}  // namespace dfengine::ptx
