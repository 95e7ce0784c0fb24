// Text entries of a file's metadata from a fuzzer's input.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>

namespace dfengine::fuzz {

// Each line is a name, a space and the entry's text.
inline std::map<std::string, std::string> entries_of(std::string_view text) {
  std::map<std::string, std::string> entries;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    const std::size_t space = std::min(line.find(' '), line.size());
    entries[std::string(line.substr(0, space))] = line.substr(std::min(space + 1, line.size()));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return entries;
}

}  // namespace dfengine::fuzz
