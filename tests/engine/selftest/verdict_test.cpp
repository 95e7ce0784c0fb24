// The kept verdict of the self-test, with made-up ones: when it is found out, and what follows.
#include "engine/selftest/verdict.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/runtime/program_id.h"
#include "kernels/base/error.h"
#include "kernels/cuda/context.h"
#include "tests/support/variable.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine::test {
namespace {

const std::string kFailure = "pointwise [2, 3, 3, 8]: 128x96x16: y[5] is 1,\nnot 2; a GPU";

class KeptVerdict : public testing::Test {
 protected:
  // What is known of the subject, whose test would give `found`.
  Verdict verdict(const Verdict& found, const std::string& subject = "a GPU, driver 1") {
    return kept_verdict(folder(), subject, [&] {
      ++tests_;
      return found;
    });
  }
  std::optional<std::filesystem::path> folder() const { return scratch_.path() / "selftest"; }

  ScratchFolder scratch_;
  int tests_ = 0;
};

TEST_F(KeptVerdict, IsFoundOutOnce) {
  EXPECT_EQ(verdict(""), "");
  EXPECT_EQ(verdict(kFailure), "");
  EXPECT_EQ(tests_, 1);
}

TEST_F(KeptVerdict, AFailureIsKeptWordForWord) {
  EXPECT_EQ(verdict(kFailure), kFailure);
  EXPECT_EQ(verdict(""), kFailure);
  EXPECT_EQ(tests_, 1);
}

TEST_F(KeptVerdict, AnotherDriverOrProgramIsTestedAgain) {
  EXPECT_EQ(verdict(kFailure), kFailure);
  EXPECT_EQ(verdict("", "a GPU, driver 2"), "");
  EXPECT_EQ(verdict(kFailure, "a GPU, driver 1; program 2"), kFailure);
  EXPECT_EQ(tests_, 3);
  EXPECT_EQ(verdict(""), kFailure);
  EXPECT_EQ(tests_, 3);
}

TEST_F(KeptVerdict, DfengineSelftestRenewsIt) {
  verdict(kFailure);
  keep_verdict(folder(), "a GPU, driver 1", "");
  EXPECT_EQ(verdict(kFailure), "");
  EXPECT_EQ(tests_, 1);
}

TEST_F(KeptVerdict, ATestThatEndsTheProcessTwiceHasFailed) {
  const auto end = [&] {
    EXPECT_EXIT(kept_verdict(folder(), "a GPU", []() -> Verdict { std::_Exit(7); }),
                testing::ExitedWithCode(7), "");
  };
  end();
  end();
  EXPECT_NE(verdict("", "a GPU").find("ended the program"), std::string::npos);
  EXPECT_EQ(verdict("", "another GPU"), "");
  EXPECT_EQ(tests_, 1);
}

// The first one may have been stopped by Ctrl-C.
TEST_F(KeptVerdict, ATestThatEndsTheProcessOnceIsRunAgain) {
  EXPECT_EXIT(kept_verdict(folder(), "a GPU", []() -> Verdict { std::_Exit(7); }),
              testing::ExitedWithCode(7), "");
  EXPECT_EQ(verdict("", "a GPU"), "");
  EXPECT_EQ(tests_, 1);
}

// Such as for want of memory that another program has now.
TEST_F(KeptVerdict, ATestThatCannotRunIsRunAgain) {
  const auto fails = []() -> Verdict { throw DeviceError("no room"); };
  EXPECT_EQ(kept_verdict(folder(), "a GPU", fails), "no room");
  EXPECT_EQ(verdict("", "a GPU"), "");
}

TEST_F(KeptVerdict, AForeignFileIsNoVerdict) {
  verdict("");
  for (const auto& entry : std::filesystem::directory_iterator(*folder()))
    if (entry.is_regular_file()) spill(entry.path(), "something else\n");
  EXPECT_EQ(verdict(kFailure), kFailure);
}

TEST_F(KeptVerdict, WithoutAFolderOrASubjectNothingIsKept) {
  const auto test = [&] {
    ++tests_;
    return Verdict();
  };
  for (int i = 0; i < 2; ++i) {
    kept_verdict(std::nullopt, "a GPU", test);
    kept_verdict(folder(), std::nullopt, test);
  }
  EXPECT_EQ(tests_, 4);
  spill(scratch_.path() / "file", "");
  EXPECT_EQ(kept_verdict(scratch_.path() / "file", "a GPU", test), "");
}

TEST(DeviceByVerdict, AGoodOneTakesTheGpuAndABadOneSaysWhyNot) {
  std::vector<std::string> lines;
  const auto tell = [&](const std::string& line) { lines.push_back(line); };
  EXPECT_EQ(device_by("", tell), DeviceKind::Cuda);
  EXPECT_TRUE(lines.empty());
  EXPECT_EQ(device_by("y[5] is 1, not 2", tell), DeviceKind::Cpu);
  ASSERT_EQ(lines.size(), 1u);
  for (const char* part : {"the CPU computes", "dfengine selftest", "y[5] is 1, not 2"})
    EXPECT_NE(lines[0].find(part), std::string::npos) << lines[0];
}

TEST(AutoWithoutAGpu, SaysNothing) {
  if (cuda::available()) GTEST_SKIP() << "there is a CUDA device on this machine";
  ThreadPool pool(1);
  EXPECT_EQ(choose_device(Precision::Fp16, pool, [](const std::string& line) { FAIL() << line; }),
            DeviceKind::Cpu);
}

// On a machine with one: the second time nothing is tested, which would take longer.
TEST(DeviceByVerdictDevice, IsTheSameTheSecondTime) {
  if (!cuda::available()) GTEST_SKIP() << "no CUDA device on this machine";
  const ScratchFolder cache;
  const Variable folder("XDG_CACHE_HOME", cache.path().string());
  ThreadPool pool(2);
  const auto tell = [](const std::string& line) { ADD_FAILURE() << line; };
  EXPECT_EQ(choose_device(Precision::Fp16, pool, tell), DeviceKind::Cuda);
  EXPECT_EQ(kept_verdict(verdict_folder(), verdict_subject(Precision::Fp16),
                         []() -> Verdict { return "tested again"; }),
            "");
}

TEST(ProgramId, IsThatOfTheFile) {
  const std::string id = program_id();
  EXPECT_GE(id.size(), 16u);
  EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos) << id;
  EXPECT_EQ(program_id(), id);
}

}  // namespace
}  // namespace dfengine::test
