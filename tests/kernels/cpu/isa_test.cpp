// Choice of the instruction set: set_isa and the environment variable DFENGINE_ISA.
#include "kernels/cpu/isa.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "kernels/base/error.h"

namespace dfengine::cpu {
namespace {

TEST(Isa, SetIsaSwitches) {
  EXPECT_TRUE(isa_supported(Isa::Baseline));
  const Isa before = current_isa();
  for (Isa isa : {Isa::Baseline, Isa::Avx2, Isa::Avx512}) {
    if (isa_supported(isa)) {
      set_isa(isa);
      EXPECT_EQ(current_isa(), isa);
    } else {
      EXPECT_THROW(set_isa(isa), UsageError);
    }
  }
  set_isa(before);
}

// The variable is read once per process, so each case asks in a child process, whose exit code
// tells: 0..2 the instruction set, 10 a UsageError that names the value.
void exit_with_choice(const char* value) {
  setenv("DFENGINE_ISA", value, 1);
  try {
    std::exit(static_cast<int>(current_isa()));
  } catch (const UsageError& error) {
    const bool named = std::string(error.what()).find(value) != std::string::npos;
    std::exit(named ? 10 : 11);
  }
}

class IsaVariable : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(IsaVariable, NamesAnInstructionSet) {
  EXPECT_EXIT(exit_with_choice("baseline"), testing::ExitedWithCode(0), "");
  for (Isa isa : {Isa::Avx2, Isa::Avx512}) {
    const int code = isa_supported(isa) ? static_cast<int>(isa) : 10;
    EXPECT_EXIT(exit_with_choice(isa_name(isa)), testing::ExitedWithCode(code), "");
  }
}

TEST_F(IsaVariable, UnknownNameIsAnError) {
  EXPECT_EXIT(exit_with_choice("sse9"), testing::ExitedWithCode(10), "");
}

TEST_F(IsaVariable, EmptyMeansTheBest) {
  Isa best = Isa::Baseline;
  for (Isa isa : {Isa::Avx2, Isa::Avx512})
    if (isa_supported(isa)) best = isa;
  EXPECT_EXIT(exit_with_choice(""), testing::ExitedWithCode(static_cast<int>(best)), "");
}

}  // namespace
}  // namespace dfengine::cpu
