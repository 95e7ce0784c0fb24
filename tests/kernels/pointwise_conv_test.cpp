// Pointwise convolution: sizes and packed weights on the CPU. Its numbers: convolution_test.cpp.
#include "kernels/base/error.h"
#include "tests/kernels/convolutions.h"

namespace dfengine::test {
namespace {

TEST(PointwiseConv, RefusesSizesBelowOne) {
  EXPECT_THROW(PointwiseProblem::make(0, 1, 1), ShapeError);
  EXPECT_THROW(PointwiseProblem::make(1, 0, 1), ShapeError);
  EXPECT_THROW(PointwiseProblem::make(1, 1, -3), ShapeError);
  EXPECT_EQ(PointwiseProblem::make(2, 3, 5).flops(), 60);
}

// Weights may be packed once and used after another instruction set was chosen.
TEST(PointwiseConv, PackedWeightsServeEveryInstructionSet) {
  const Pointwise op = Pointwise::of(17, 19, 83);
  const ConvData d = integer_data(op.sizes());
  const Doubles want = formula(op, d, {}).y;
  HostArray<float> x(d.x), w(d.w), packed(cpu::pointwise_packed_count(op.p));
  cpu::pointwise_pack<float>(op.p, w.data(), packed.data());
  for_each_isa([&] {
    HostArray<float> y(op.sizes().y);
    cpu::pointwise_forward<float>(Cpu<float>{}.context(), op.p, x.data(), packed.data(), {},
                                  y.data());
    EXPECT_EQ(y.values(), want);
  });
}

}  // namespace
}  // namespace dfengine::test
