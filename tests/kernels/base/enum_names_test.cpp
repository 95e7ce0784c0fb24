// Names of enums: both ways, and what an unknown name is told.
#include "kernels/base/enum_names.h"

#include <gtest/gtest.h>

namespace dfengine {

enum class Fruit { Apple, Pear, Unnamed };
template <>
inline constexpr auto enum_names<Fruit> = names_for<Fruit>("fruit", {{"apple", Fruit::Apple},
                                                                     {"pear", Fruit::Pear}});

namespace {

TEST(EnumNames, BothWays) {
  for (const Fruit fruit : {Fruit::Apple, Fruit::Pear})
    EXPECT_EQ(parse_name<Fruit>(name_of(fruit)), fruit);
  EXPECT_STREQ(name_of(Fruit::Pear), "pear");
  EXPECT_STREQ(name_of(Fruit::Unnamed), "");
  EXPECT_EQ(names_of<Fruit>(), (std::vector<std::string>{"apple", "pear"}));
  EXPECT_EQ(enum_names<Fruit>.find("plum"), std::nullopt);
}

TEST(EnumNames, AnUnknownNameIsToldTheKnownOnes) {
  for (const char* name : {"plum", "", "Apple", "apple "}) {
    try {
      parse_name<Fruit>(name);
      FAIL() << name;
    } catch (const UsageError& e) {
      EXPECT_EQ(std::string(e.what()),
                "fruit '" + std::string(name) + "' is unknown; known: apple pear");
    }
  }
  EXPECT_THROW((parse_name<Fruit, ModelFileError>("plum")), ModelFileError);
}

}  // namespace
}  // namespace dfengine
