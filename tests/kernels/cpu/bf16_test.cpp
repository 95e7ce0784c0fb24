// Where the CPU computes in bf16, and what it refuses there.
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/pointwise_conv.h"
#include "tests/support/targets.h"

namespace dfengine::test {
namespace {

class BFloat16OnCpu : public OnTarget<Cpu<BFloat16>> {};

TEST_F(BFloat16OnCpu, ProductsNeedChannelsInEights) {
  const std::vector<float> w(8 * 8);
  std::vector<BFloat16> packed(8 * 8);
  for (const auto& [c, k] : {std::pair{4, 8}, {8, 4}}) {
    const auto p = PointwiseProblem::make(1, c, k);
    EXPECT_THROW(cpu::pointwise_pack(p, w.data(), packed.data()), ShapeError);
    EXPECT_THROW(cpu::pointwise_pack_transposed(p, w.data(), packed.data()), ShapeError);
  }
}

TEST(BFloat16Support, IsRefusedByOtherInstructionSets) {
  const cpu::Isa before = cpu::current_isa();
  cpu::set_isa(cpu::Isa::Baseline);
  EXPECT_FALSE(cpu::bf16_supported());
  EXPECT_THROW(cpu::require_bf16(), UsageError);
  cpu::set_isa(before);
}

}  // namespace
}  // namespace dfengine::test
