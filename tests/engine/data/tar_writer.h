// The plainest ustar, for tests: names of up to 100 bytes, files only.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace dfengine::test {

// Sets the size that the header at this byte claims, and its checksum.
inline void set_tar_size(std::string& tar, std::size_t header, std::uint64_t size) {
  const auto put = [&](std::size_t at, const std::string& text) {
    tar.replace(header + at, text.size(), text);
  };
  put(124, fmt::format("{:011o}", size));
  put(148, "        ");
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(tar[header + i]);
  put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
}

inline std::string tar_of(const std::vector<std::pair<std::string, std::string>>& files) {
  constexpr std::size_t kBlock = 512;
  std::string tar;
  for (const auto& [name, content] : files) {
    const std::size_t header = tar.size();
    tar.resize(header + kBlock);
    const auto put = [&](std::size_t at, const std::string& text) {
      tar.replace(header + at, text.size(), text);
    };
    put(0, name.substr(0, 100));
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(136, "00000000000");
    put(156, "0");
    put(257, std::string("ustar\00000", 8));
    set_tar_size(tar, header, content.size());
    tar += content;
    tar.resize((tar.size() + kBlock - 1) / kBlock * kBlock);
  }
  tar.resize(tar.size() + 2 * kBlock);
  return tar;
}

}  // namespace dfengine::test
