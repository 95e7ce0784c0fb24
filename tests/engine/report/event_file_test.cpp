// Event files against the format's own description: checksums by their published value, and a
// reader of records and fields that shares nothing with the writer. tests/tensorboard_events.py
// asks TensorBoard.
#include "engine/report/export/event_file.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "kernels/base/error.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

using report::EventFile;

std::uint64_t number(const std::string& bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;)
    value = value << 8 | static_cast<unsigned char>(bytes.at(at + i));
  return value;
}

std::uint32_t unmasked(std::uint64_t masked) {
  return std::rotl(static_cast<std::uint32_t>(masked) - 0xA282EAD8u, 15);
}

std::vector<std::string> records(const std::string& file) {
  std::vector<std::string> all;
  for (std::size_t at = 0; at < file.size();) {
    const std::size_t length = number(file, at, 8);
    EXPECT_EQ(unmasked(number(file, at + 8, 4)), report::crc32c(file.substr(at, 8)));
    all.push_back(file.substr(at + 12, length));
    EXPECT_EQ(unmasked(number(file, at + 12 + length, 4)), report::crc32c(all.back()));
    at += 16 + length;
  }
  return all;
}

// Field number and content, in their order.
std::vector<std::pair<int, std::string>> fields(const std::string& message) {
  std::vector<std::pair<int, std::string>> all;
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(message.at(at++));
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.size()) {
    const std::uint64_t key = varint();
    const std::size_t begin = at;
    std::size_t size = 0;
    switch (key & 7) {
      case 0:
        varint();
        size = at - begin;
        at = begin;
        break;
      case 1:
        size = 8;
        break;
      case 5:
        size = 4;
        break;
      default:
        size = varint();
    }
    all.emplace_back(static_cast<int>(key >> 3), message.substr(at, size));
    at += size;
  }
  return all;
}

TEST(EventFile, HasTheChecksumOfRfc3720) {
  EXPECT_EQ(report::crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(report::crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(report::crc32c(std::string(32, '\xff')), 0x62A8AB43u);
}

TEST(EventFile, HoldsScalarsByStep) {
  const test::ScratchFolder folder;
  EventFile file(folder.path());
  EXPECT_TRUE(file.path().filename().string().starts_with("events.out.tfevents.1"));
  file.add(300, 1.5, std::vector<report::Scalar>{{"loss/train", 0.25}, {"auc/valid", -7}});
  const auto all = records(test::slurp(file.path()));
  ASSERT_EQ(all.size(), 2u);
  const auto first = fields(all[0]);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].first, 1);
  EXPECT_EQ(first[1], (std::pair<int, std::string>(3, "brain.Event:2")));
  const auto event = fields(all[1]);
  ASSERT_EQ(event.size(), 3u);
  EXPECT_EQ(std::bit_cast<double>(number(event[0].second, 0, 8)), 1.5);
  EXPECT_EQ(event[1], (std::pair<int, std::string>(2, "\xAC\x02")));  // 300
  EXPECT_EQ(event[2].first, 5);
  const auto values = fields(event[2].second);
  ASSERT_EQ(values.size(), 2u);
  const auto second = fields(values[1].second);
  EXPECT_EQ(second[0], (std::pair<int, std::string>(1, "auc/valid")));
  EXPECT_EQ(second[1].first, 2);
  EXPECT_EQ(std::bit_cast<float>(static_cast<std::uint32_t>(number(second[1].second, 0, 4))), -7.f);
}

TEST(EventFile, NamesAFolderThatIsNotThere) {
  EXPECT_THROW(EventFile("/nowhere/at/all"), Error);
}

}  // namespace
}  // namespace dfengine
