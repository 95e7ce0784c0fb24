// libFuzzer target for tars of labelled pictures; tests/fuzz.sh builds and runs it.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

#include "engine/data/sets/tar_source.h"
#include "engine/data/tar.h"
#include "kernels/base/error.h"
#include "tests/fuzz/memory_file.h"

namespace {

using namespace dfengine;

constexpr std::size_t kBlock = 512;

// Of a header: where its fields begin, and how long they are.
constexpr std::size_t kName = 100, kSize = 124, kSizeBytes = 12, kSum = 148, kSumBytes = 8,
                      kType = 156, kMagic = 257;

void set_checksum(char* header) {
  std::memset(header + kSum, ' ', kSumBytes);
  unsigned sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) sum += static_cast<unsigned char>(header[i]);
  std::snprintf(header + kSum, kSumBytes, "%06o", sum);
}

// Any file gives entries or an Error, and each entry its bytes or an Error.
void check(std::string_view file_bytes) {
  static fuzz::MemoryFile file;
  const std::filesystem::path path = file.holding(std::as_bytes(std::span(file_bytes)));
  try {
    const TarFile tar(path);
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < tar.entries().size(); ++i) {
      const TarEntry& entry = tar.entries()[i];
      if (entry.at > file_bytes.size() || entry.bytes > file_bytes.size() - entry.at) std::abort();
      tar.read(i, bytes);
      if (bytes.size() != entry.bytes ||
          std::memcmp(bytes.data(), file_bytes.data() + entry.at, bytes.size()) != 0)
        std::abort();
    }
  } catch (const Error&) {
  }
  try {
    const TableSource source = read_tar_source(path, {});
    const auto& samples = source.dataset.samples;
    if (!source.splits.empty() && source.splits.size() != samples.size()) std::abort();
    for (const Sample& sample : samples) {
      if (sample.label != 0 && sample.label != 1) std::abort();
      static_cast<void>(source.dataset.tars->entry(sample.record));
    }
  } catch (const Error&) {
  }
}

// The checksum of each header set right, so that mutations reach what lies behind it.
std::string with_checksums(std::string tar) {
  for (std::size_t at = 0; at + kBlock <= tar.size();) {
    char* const header = tar.data() + at;
    if (std::all_of(header, header + kBlock, [](char c) { return c == 0; })) break;
    set_checksum(header);
    std::array<char, kSizeBytes + 1> size{};
    std::memcpy(size.data(), header + kSize, kSizeBytes);
    const std::size_t bytes = std::strtoull(size.data(), nullptr, 8);
    if (bytes > tar.size()) break;
    at += kBlock + (bytes + kBlock - 1) / kBlock * kBlock;
  }
  return tar;
}

// A whole tar of a text: files one behind the other with an empty line between them, the name of
// each in its first line.
std::string tar_of(std::string_view text) {
  std::string tar;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find("\n\n"));
    text.remove_prefix(std::min(one.size() + 2, text.size()));
    const std::string_view name = one.substr(0, one.find('\n'));
    const std::string_view content = one.substr(std::min(name.size() + 1, one.size()));
    std::array<char, kBlock> header{};
    std::memcpy(header.data(), name.data(), std::min(name.size(), kName));
    std::snprintf(header.data() + kSize, kSizeBytes, "%011zo", content.size());
    header[kType] = '0';
    std::memcpy(header.data() + kMagic, "ustar\00000", 8);
    set_checksum(header.data());
    tar.append(header.data(), kBlock).append(content);
    tar.resize((tar.size() + kBlock - 1) / kBlock * kBlock);
  }
  return tar.append(2 * kBlock, '\0');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  check(input);
  check(with_checksums(std::string(input)));
  check(tar_of(input));
  return 0;
}
