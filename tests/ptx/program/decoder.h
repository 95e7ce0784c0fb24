// From a statement's text to an instruction.
#pragma once

#include "tests/ptx/program/names.h"

namespace dfengine::ptx {

using Labels = std::unordered_map<std::string_view, int>;

// Throws SyntaxError where the interpreter does not know the statement.
Instruction decode(std::string_view statement, Names& names, const Labels& labels);

}  // namespace dfengine::ptx
