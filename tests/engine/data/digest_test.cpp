// What a digest of pictures or of a table depends on. (source_digest: pack_test.cpp.)
#include "engine/data/digest.h"

#include <gtest/gtest.h>

#include "tests/engine/data/data_support.h"

namespace dfengine {
namespace {

TEST(DataDigest, DependsOnNamesLabelsSizesAndTheirOrder) {
  const test::TempDir here, there;
  for (const test::TempDir* folder : {&here, &there}) {
    folder->write("a.jpg", "12");
    folder->write("b.jpg", "123");
  }
  const auto set = [&](std::vector<Sample> samples) {
    return Dataset{here.path(), "train", samples};
  };
  Dataset a = set({{"a.jpg", 0}, {"b.jpg", 1}});
  const Dataset none = set({});
  const std::string d = digest(a, none);
  EXPECT_EQ(digest(a, none), d);
  EXPECT_NE(digest(set({{"a.jpg", 1}, {"b.jpg", 1}}), none), d);
  EXPECT_NE(digest(set({{"b.jpg", 1}, {"a.jpg", 0}}), none), d);
  EXPECT_NE(digest(set({{"a.jpg", 0}}), none), d);
  // The folder itself does not count: a set may move.
  a.root = there.path();
  EXPECT_EQ(digest(a, none), d);
  there.write("b.jpg", "1234");
  EXPECT_NE(digest(a, none), d);
}

TEST(TableDigest, TellsTablesApart) {
  const auto of = [](const char* text) { return digest(parse_csv(text, "t")); };
  EXPECT_EQ(of("a,b\n1,23\n"), of("a,b\r\n1,\"23\"\r\n"));
  EXPECT_NE(of("a,b\n1,23\n"), of("a,b\n12,3\n"));
  EXPECT_NE(of("a\n1\n"), of("b\n1\n"));
}

}  // namespace
}  // namespace dfengine
