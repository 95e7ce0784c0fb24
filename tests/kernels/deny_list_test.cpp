// A kernel that ended the process, or its CUDA context, is not tried again.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "kernels/base/error.h"
#include "kernels/cuda/tuning/tuner.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine::test {
namespace {

using cuda::Tuner;
using Launch = void(cuda::Stream, std::span<void* const>);
using Kernels = std::vector<cuda::Kernel<Launch>>;

class DenyListFile : public testing::Test {
 protected:
  cuda::DenyList list(const std::string& machine = "a GPU, driver 1") const {
    return {folder_.path() / "denied", [machine] { return machine; }};
  }
  // Whether the kernel is run; else why not.
  static std::string attempted(cuda::DenyList list, const std::string& kernel = "problem, fast") {
    try {
      bool ran = false;
      list.attempt(kernel, [&] { ran = true; });
      EXPECT_TRUE(ran);
      return "";
    } catch (const DeviceError& e) {
      return e.what();
    }
  }
  void end_process_with(const std::string& kernel) {
    EXPECT_EXIT(list().attempt(kernel, [] { std::_Exit(7); }), testing::ExitedWithCode(7), "");
  }
  ScratchFolder folder_;
};

TEST_F(DenyListFile, WhatEndedTwoProcessesIsNotTriedAgain) {
  EXPECT_EQ(attempted(list()), "");
  end_process_with("problem, fast");
  end_process_with("problem, fast");
  const std::string reason = attempted(list());
  ASSERT_NE(reason.find("ended the program"), std::string::npos) << reason;
  // Another kernel is, and this one on another machine.
  EXPECT_EQ(attempted(list(), "problem, slow"), "");
  EXPECT_EQ(attempted(list("a GPU, driver 2")), "");
  // The message says how to have it tried again.
  const std::size_t begin = reason.find("remove ") + 7;
  const std::filesystem::path file = reason.substr(begin, reason.find(" to try") - begin);
  EXPECT_TRUE(std::filesystem::remove(file)) << file;
  EXPECT_EQ(attempted(list()), "");
}

// Ctrl-C, the system's want of memory, or a time-out.
TEST_F(DenyListFile, OneEndMayHaveHadAnotherReason) {
  for (int i = 0; i < 3; ++i) {
    end_process_with("problem, fast");
    EXPECT_EQ(attempted(list()), "");
  }
}

TEST_F(DenyListFile, AnErrorIsNoReasonToDeny) {
  cuda::DenyList denied = list();
  EXPECT_THROW(denied.attempt("problem, fast", [] { throw DeviceError("too large"); }),
               DeviceError);
  EXPECT_EQ(attempted(list()), "");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "denied"));
}

TEST_F(DenyListFile, ALostContextIs) {
  cuda::DenyList denied = list();
  try {
    denied.attempt("problem, fast", [] { throw cuda::DeviceLost("illegal address"); });
    FAIL() << "nothing was thrown";
  } catch (const cuda::DeviceLost& e) {
    const std::string what = e.what();
    EXPECT_NE(what.find("problem, fast"), std::string::npos) << what;
    EXPECT_NE(what.find("illegal address"), std::string::npos) << what;
    EXPECT_NE(what.find("start again"), std::string::npos) << what;
  }
  EXPECT_NE(attempted(list()), "");
}

// Two programs that choose at the same time do not take each other for dead.
TEST_F(DenyListFile, WhatAnotherTriesNowIsNotDenied) {
  cuda::DenyList first = list();
  first.attempt("problem, fast", [&] { EXPECT_EQ(attempted(list()), ""); });
}

TEST_F(DenyListFile, WithoutAFolderNothingIsRemembered) {
  EXPECT_EQ(attempted(cuda::DenyList()), "");
  spill(folder_.path() / "file", "");
  const auto machine = [] { return std::string("a GPU"); };
  EXPECT_EQ(attempted({folder_.path() / "file" / "denied", machine}), "");
}

// A tuner on this list whose candidates are timed so.
class DeniedTuner : public DenyListFile {
 protected:
  using Measured = std::function<double(const cuda::Candidate&)>;
  static constexpr auto kAnyTime = [](const cuda::Candidate&) { return 1.0; };

  cuda::Choice choose(const Measured& measured, const Tuner::Offer<Launch>& offer = nullptr) const {
    Tuner tuner([&](const cuda::TunerProblem&) -> cuda::Measure { return measured; }, list());
    const cuda::TunerProblem problem{.key = "counting", .operands = {{cuda::StorageType::F32, 8}}};
    return tuner.choose<Launch>(problem,
                                {{.name = "rule", .launch = {}}, {.name = "fast", .launch = {}}},
                                offer, [](const auto& launch) { return launch; });
  }
  static void expect_only_left_out(const cuda::Choice& choice, const std::string& reason) {
    ASSERT_EQ(choice.left_out.size(), 1u);
    EXPECT_NE(choice.left_out[0].find(reason), std::string::npos) << choice.left_out[0];
  }
};

TEST_F(DeniedTuner, LeavesOutWhatEndedAProcess) {
  const auto ends = [](const std::string& name) {
    return [name](const cuda::Candidate& c) -> double {
      if (c.name == name) std::_Exit(7);
      return 1;
    };
  };
  for (int i = 0; i < 2; ++i) EXPECT_EXIT(choose(ends("fast")), testing::ExitedWithCode(7), "");
  expect_only_left_out(choose(ends("fast")), "fast: ended the program");
  // The rule's kernel is never denied: there may be no other.
  EXPECT_EXIT(choose(ends("rule")), testing::ExitedWithCode(7), "");
  EXPECT_EQ(choose(kAnyTime).name, "rule");
}

TEST_F(DeniedTuner, SaysThatTheDeviceIsLost) {
  const auto loses = [](const cuda::Candidate& c) -> double {
    if (c.name == "fast") throw cuda::DeviceLost("illegal address");
    return 1;
  };
  EXPECT_THROW(choose(loses), cuda::DeviceLost);
  // As after a fresh start.
  expect_only_left_out(choose(loses), "fast: ended the program or its CUDA context");
}

TEST_F(DeniedTuner, ALibraryThatEndsAProcessIsNotAskedAgain) {
  for (int i = 0; i < 2; ++i)
    EXPECT_EXIT(choose(kAnyTime, [](cuda::Libraries&) -> Kernels { std::_Exit(7); }),
                testing::ExitedWithCode(7), "");
  expect_only_left_out(choose(kAnyTime, [](cuda::Libraries&) { return Kernels{}; }),
                       "library: ended the program");
}

}  // namespace
}  // namespace dfengine::test
