// What the CPU does in bf16 beside convolutions, against the formulas in double.
#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "kernels/base/error.h"
#include "kernels/cpu/bf16/table.h"
#include "kernels/global_average_pool.h"
#include "kernels/image_normalize.h"
#include "kernels/pointwise_conv.h"
#include "kernels/residual_add.h"
#include "tests/kernels/conv_case.h"

namespace dfengine::test {
namespace {

using Target = Cpu<BFloat16>;
using Values = HostArray<BFloat16>;

class BFloat16OnCpu : public OnTarget<Target> {};

// Whole vectors, halves, single elements, and several tasks.
constexpr Index kCounts[] = {1, 3, 8, 16, 24, 41, 16320, 49000};

Doubles random_stored(Index count, std::uint64_t seed) {
  return as_stored<BFloat16>(random_uniform<double>(count, seed));
}

TEST_F(BFloat16OnCpu, AddRoundsTheSumOnce) {
  for (Index count : kCounts) {
    const Doubles a = random_stored(count, 1), b = random_stored(count, 2);
    Doubles want(a);
    for (std::size_t i = 0; i < want.size(); ++i) want[i] += b[i];
    Values x(a), z(b), y(count);
    cpu::residual_add(Target{2}.context(), count, x.data(), z.data(), y.data());
    EXPECT_EQ(y.values(), as_stored<BFloat16>(want)) << count;
  }
}

TEST_F(BFloat16OnCpu, ActivationsAreExact) {
  for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
    for (Index count : kCounts) {
      Doubles from = random_stored(count, 3);
      for (double& v : from) v *= 16;
      Doubles want(from);
      for (double& v : want) v = activated(activation, v);
      Values x(from), y(count);
      cpu::activation_forward(Target{2}.context(), activation, count, x.data(), y.data());
      EXPECT_EQ(y.values(), want) << count;
    }
  }
}

TEST_F(BFloat16OnCpu, NormalizeRoundsTheFloat) {
  const double mean[3] = {0.485, 0.456, 0.406}, std_dev[3] = {0.229, 0.224, 0.225};
  for (Index rows : {1, 5, 16, 6000}) {
    std::vector<std::uint8_t> pixels;
    for (Index i = 0; i < rows * 3; ++i) pixels.push_back(static_cast<std::uint8_t>(i * 7 % 256));
    Doubles want, magnitude;
    for (Index i = 0; i < rows * 3; ++i) {
      const double m = mean[i % 3], s = std_dev[i % 3];
      want.push_back((pixels[at(i)] / 255.0 - m) / s);
      magnitude.push_back((pixels[at(i)] / 255.0 + m) / s);
    }
    Values y(rows * 3);
    cpu::image_normalize(Target{2}.context(), rows, mean, std_dev, pixels.data(), y.data());
    expect_close<Target>(y.values(), want, 2, magnitude, "y");
  }
}

TEST_F(BFloat16OnCpu, PoolAddsInFloat) {
  for (const Shape& shape : {Shape{1, 7, 7, 8}, Shape{3, 1, 1, 16}, Shape{2, 5, 3, 1280}}) {
    const Doubles x = random_stored(shape.count(), 4);
    const auto pixels = static_cast<double>(shape.h * shape.w);
    Doubles want(at(shape.n * shape.c), 0), magnitude(want);
    for (Index i = 0; i < shape.count(); ++i) {
      const auto to = at(i / (shape.h * shape.w * shape.c) * shape.c + i % shape.c);
      want[to] += x[at(i)] / pixels;
      magnitude[to] += std::abs(x[at(i)]) / pixels;
    }
    Values in(x);
    HostArray<float> y(shape.n * shape.c);
    cpu::global_average_pool_forward<BFloat16>(Target{2}.context(), shape, in.data(), y.data());
    expect_close<Target, float>(y.values(), want, pixels, magnitude, "y");
  }
}

TEST(BFloat16Support, IsRefusedByOtherInstructionSets) {
  const cpu::Isa before = cpu::current_isa();
  cpu::set_isa(cpu::Isa::Baseline);
  EXPECT_FALSE(cpu::bf16_supported());
  EXPECT_THROW(cpu::bf16_table(), UsageError);
  cpu::set_isa(before);
}

TEST_F(BFloat16OnCpu, ProductsNeedChannelsInEights) {
  Values w(4 * 8), packed(cpu::pointwise_packed_count(PointwiseProblem::make(1, 8, 8)));
  EXPECT_THROW(cpu::pointwise_pack(PointwiseProblem::make(1, 4, 8), w.data(), packed.data()),
               ShapeError);
}

}  // namespace
}  // namespace dfengine::test
