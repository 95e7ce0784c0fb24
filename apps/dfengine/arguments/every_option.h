// What holds for the values of all options, whatever their command.
#pragma once

#include <CLI/CLI.hpp>

namespace dfengine {

// Of the program and all its commands: an option refuses an empty text, for "$VARIABLE" that is not
// set would else mean what the option's absence means, and one that cannot be negative a minus, of
// which CLI11 makes a great number.
void check_every_option(CLI::App& program);

}  // namespace dfengine
