// What the tests of engine/data share: goldens, a picture formula, a folder of their own.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/pictures/image.h"
#include "engine/data/sets/source.h"
#include "tests/support/places.h"

namespace dfengine::test {

inline nlohmann::json golden(const std::string& name) {
  std::ifstream stream(golden_folder() / name);
  return nlohmann::json::parse(stream);
}

inline std::vector<std::uint8_t> from_hex(const std::string& hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// The hash of make_data_goldens.py.
inline std::string fnv(const std::vector<std::uint8_t>& bytes) {
  std::uint64_t value = 0xCBF29CE484222325u;
  for (std::uint8_t byte : bytes) value = (value ^ byte) * 0x100000001B3u;
  return fmt::format("{:016x}", value);
}

// The picture of make_data_goldens.py, pattern(h, w); `shift` makes different ones.
inline Image pattern(Index h, Index w, Index shift = 0) {
  Image image{h, w, {}};
  for (Index y = 0; y < h; ++y) {
    for (Index x = 0; x < w; ++x) {
      for (Index c = 0; c < 3; ++c) {
        const Index v = ((x * 37 + y * 101 + c * 53) ^ (x * y)) + 2 * x + 3 * y + shift;
        image.rgb.push_back(static_cast<std::uint8_t>(v & 255));
      }
    }
  }
  return image;
}

inline std::string thrown_text(const auto& call) {
  try {
    call();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "(nothing thrown)";
}

// One split of the set in a folder.
inline Dataset split_of(const std::filesystem::path& folder, const std::string& split) {
  DataOptions options;
  options.data = folder;
  return std::move(open_data(options, {split}).splits.front());
}

// A folder that lives as long as the test.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "dfengine-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(const std::string& relative, const std::string& text) const {
    const std::filesystem::path file = path_ / relative;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }

  // A lossless picture: 24-bit BMP, rows from the bottom, padded to 4 bytes.
  std::filesystem::path write_bmp(const std::string& relative, const Image& image) const {
    const Index stride = (image.w * 3 + 3) / 4 * 4;
    std::string text = "BM";
    const auto put = [&text](Index value, int bytes) {
      for (int i = 0; i < bytes; ++i) text += static_cast<char>((value >> (8 * i)) & 255);
    };
    for (Index value : {54 + stride * image.h, Index{0}, Index{54}, Index{40}, image.w, image.h}) {
      put(value, 4);
    }
    put(1, 2);
    put(24, 2);
    for (int i = 0; i < 6; ++i) put(0, 4);
    for (Index y = image.h - 1; y >= 0; --y) {
      for (Index x = 0; x < image.w; ++x) {
        for (Index c = 2; c >= 0; --c) {
          put(image.rgb[static_cast<std::size_t>((y * image.w + x) * 3 + c)], 1);
        }
      }
      text.append(static_cast<std::size_t>(stride - image.w * 3), '\0');
    }
    return write(relative, text);
  }

 private:
  std::filesystem::path path_;
};

}  // namespace dfengine::test
