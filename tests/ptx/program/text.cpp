#include "tests/ptx/program/text.h"

#include <cctype>
#include <cstdlib>

namespace dfengine::ptx {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%' ||
         c == '.';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  int depth = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '{' || c == '[' || c == '(') ++depth;
    if (c == '}' || c == ']' || c == ')') --depth;
    if (c != separator || depth > 0) continue;
    parts.push_back(trimmed(text.substr(begin, i - begin)));
    begin = i + 1;
  }
  parts.push_back(trimmed(text.substr(begin)));
  return parts;
}

std::vector<std::string_view> elements(std::string_view operand) {
  if (operand.empty() || operand.front() != '{') return {operand};
  return split(operand.substr(1, operand.rfind('}') - 1), ',');
}

std::string_view take_word(std::string_view& text) {
  text = trimmed(text);
  std::size_t end = 0;
  while (end < text.size() && is_word(text[end])) ++end;
  const std::string_view word = text.substr(0, end);
  text = trimmed(text.substr(end));
  return word;
}

std::int64_t integer(std::string_view text) {
  const std::string copy(trimmed(text));
  char* end = nullptr;
  const bool negative = !copy.empty() && copy.front() == '-';
  const auto magnitude = std::strtoull(copy.c_str() + (negative ? 1 : 0), &end, 0);
  while (*end == 'U') ++end;
  if (copy.empty() || *end != '\0') throw SyntaxError("no integer: " + copy);
  return static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude);
}

int bytes_of_type(std::string_view type) {
  if (type == "pred") return 1;
  const std::size_t digits = type.find_first_of("123468");
  if (digits == type.npos) return 0;
  const std::string_view width = type.substr(digits);
  return width == "8" ? 1 : width == "16" ? 2 : width == "32" ? 4 : width == "64" ? 8 : 0;
}

}  // namespace dfengine::ptx
