// The PTX of the program that is running.
#pragma once

#include "tests/ptx/program/program.h"

namespace dfengine::ptx {

// Reads the PTX out of what nvcc put into the program for one .cu file.
void add_fat_binary(const void* wrapper);

// By its mangled name, parsed. Stops the program where no PTX has it.
Kernel& find_kernel(const std::string& name);

}  // namespace dfengine::ptx
