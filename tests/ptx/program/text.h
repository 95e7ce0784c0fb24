// Pieces of PTX text.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace dfengine::ptx {

// PTX that the interpreter does not know, or that is none.
struct SyntaxError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

bool is_space(char c);
// Letters, digits, '_', '$', '%' and '.': what names, numbers and directives are made of.
bool is_word(char c);
std::string_view trimmed(std::string_view text);
// At separators outside brackets; parts are trimmed, and none is left out.
std::vector<std::string_view> split(std::string_view text, char separator);
// "{a, b}" is a list of two, "a" one of one.
std::vector<std::string_view> elements(std::string_view operand);
// The word that the text begins with, which is cut off there.
std::string_view take_word(std::string_view& text);
std::int64_t integer(std::string_view text);

// Of "u32" and its like, 0 for what is no type. Predicates have 1.
int bytes_of_type(std::string_view type);

}  // namespace dfengine::ptx
