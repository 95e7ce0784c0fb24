// Standard output and error that a terminal cannot be commanded by: names of files, classes and
// columns come from others.
#pragma once

#include <string>
#include <string_view>

namespace dfengine {

// From here on what is printed to stdout and stderr goes through visible(). Files that are written
// are as they are.
void clean_output();

// The text with every control character but line feed and tab, and every byte that is no UTF-8, as
// \xNN.
std::string visible(std::string_view text);

// Straight to standard error, for a progress line's own commands.
void command_terminal(std::string_view text);

}  // namespace dfengine
