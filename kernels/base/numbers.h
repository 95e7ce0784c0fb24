// Numbers in text, by the rules of std::from_chars.
#pragma once

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

namespace dfengine {

// The number that the whole text is; nothing for other text.
template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stop == end ? std::optional(number) : std::nullopt;
}

// Numbers separated by commas; nothing where one of them is none.
inline std::optional<std::vector<double>> numbers_of(std::string_view text) {
  std::vector<double> numbers;
  for (std::size_t begin = 0, end = 0; begin <= text.size(); begin = end + 1) {
    end = std::min(text.find(',', begin), text.size());
    const auto number = number_of<double>(text.substr(begin, end - begin));
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace dfengine
