// What program is running.
#pragma once

#include <string>

namespace dfengine {

// The digest that the linker made of the program, or of the library that dfengine is part of (its
// build id, in hexadecimal); "" where it was linked without one.
std::string program_id();

}  // namespace dfengine
