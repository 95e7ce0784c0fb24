// What the names of folders mean.
#include "engine/data/sets/class_names.h"

#include <gtest/gtest.h>

#include <map>

namespace dfengine {
namespace {

TEST(ClassNames, ClassesAndSplitsInAnyCaseAndUsualSpelling) {
  const std::map<std::string, std::pair<int, std::string>> meanings = {
      {"real", {0, ""}},
      {"REAL", {0, ""}},
      {"0_real", {0, ""}},
      {"Real Images", {0, ""}},
      {"RealFaces", {0, ""}},
      {"nature", {0, ""}},
      {"Fake", {1, ""}},
      {"1-fake", {1, ""}},
      {"DeepFakes", {1, ""}},
      {"AIGenerated", {1, ""}},
      {"ai_generated_images", {1, ""}},
      {"original_sequences", {0, ""}},
      {"manipulated_sequences", {1, ""}},
      {"Human", {0, ""}},
      {"bona-fide", {0, ""}},
      {"bonafide", {0, ""}},
      {"spoof", {1, ""}},
      {"not_fake", {0, ""}},
      {"NonAI", {0, ""}},
      {"not_real", {1, ""}},
      {"training_fake", {1, "train"}},
      {"TestReal", {0, "test"}},
      {"Train", {-1, "train"}},
      {"TRAINING", {-1, "train"}},
      {"train_set", {-1, "train"}},
      {"01.train", {-1, "train"}},
      {"val", {-1, "valid"}},
      {"Validation", {-1, "valid"}},
      {"testing", {-1, "test"}},
      {"Validate", {-1, "valid"}},
      {"trn", {-1, "train"}},
      {"tst", {-1, "test"}},
      {"TestSet", {-1, "test"}},
  };
  for (const auto& [name, meaning] : meanings) {
    const NameMeaning m = ClassNames().meaning(name);
    EXPECT_EQ(m.label, meaning.first) << name;
    EXPECT_EQ(m.split, meaning.second) << name;
  }
  for (const char* name : {"", "real_vs_fake", "unreal", "celeb-real", "real_esrgan", "surreal",
                           "train_val", "not", "not_train", "not_not_fake", "nonfake_real_fake",
                           "constrain", "latest", "images", "0", "--", "caf\xC3\xA9"}) {
    const NameMeaning m = ClassNames().meaning(name);
    EXPECT_EQ(m.label, -1) << name;
    EXPECT_EQ(m.split, "") << name;
  }
}

TEST(ClassNames, NamesThatAPersonGivesAreTheOnlyOnes) {
  const ClassNames names("Celeb-real,test_synthesis");
  EXPECT_EQ(names.label_of("celeb-REAL"), 0);
  EXPECT_EQ(names.label_of("test_synthesis"), 1);
  EXPECT_EQ(names.meaning("test_synthesis").split, "");
  for (const char* name : {"real", "fake", "celeb_real", "ai"}) EXPECT_EQ(names.label_of(name), -1);
  EXPECT_EQ(names.meaning("Training").split, "train");
}

TEST(CanonicalSplit, LeavesOtherNamesAlone) {
  EXPECT_EQ(canonical_split("Validation"), "valid");
  EXPECT_EQ(canonical_split("test"), "test");
  for (const char* name : {"holdout", "all", "", "training_fake", "Real"})
    EXPECT_EQ(canonical_split(name), name);
}

}  // namespace
}  // namespace dfengine
