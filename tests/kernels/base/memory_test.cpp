// Memory that the system does not have is told by its own error, with its size.
#include "kernels/base/memory.h"

#include <gtest/gtest.h>

#include <string>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

TEST(Memory, WhatTheSystemLacksIsOutOfMemory) {
  try {
    const Memory memory(Index{1} << 60);
    ADD_FAILURE() << "so much there is nowhere";
  } catch (const OutOfMemory& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("1099511627776 MiB"), std::string::npos) << text;
    EXPECT_EQ(text.find("--"), std::string::npos) << text;
  }
}

TEST(Memory, BeginsAsZeros) {
  const Memory memory(10000);
  EXPECT_EQ(memory.bytes(), 10000);
  for (Index i = 0; i < memory.bytes(); ++i) ASSERT_EQ(memory.data()[i], std::byte{0});
  EXPECT_EQ(Memory(0).data(), nullptr);
}

}  // namespace
}  // namespace dfengine
