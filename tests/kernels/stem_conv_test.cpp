// Stem convolution: its geometry, and what only its device kernels have. Its numbers:
// convolution_test.cpp.
#include <tuple>

#include "kernels/base/error.h"
#include "tests/kernels/convolutions.h"

namespace dfengine::test {
namespace {

TEST(StemConv, GeometryMatchesHandComputedCases) {
  const auto geometry = [](Index side, Padding padding, Index stride = 2) {
    const StemProblem p = StemProblem::make({1, side, side + 2, 3}, 32, padding, stride);
    EXPECT_EQ(p.before_h, p.before_w);
    return std::tuple(p.p, p.q, p.before_h);
  };
  using G = std::tuple<Index, Index, Index>;
  EXPECT_EQ(geometry(224, Padding::Torch), G(112, 113, 1));
  EXPECT_EQ(geometry(224, Padding::TfSame), G(112, 113, 0));
  EXPECT_EQ(geometry(223, Padding::Torch), G(112, 113, 1));
  EXPECT_EQ(geometry(223, Padding::TfSame), G(112, 113, 1));
  for (const Padding padding : kPaddings) EXPECT_EQ(geometry(224, padding, 1), G(224, 226, 1));
}

TEST(StemConv, RejectsShapesThatMakeNoSense) {
  const auto make = [](const Shape& x, Index k) { StemProblem::make(x, k, Padding::Torch); };
  EXPECT_THROW(make({1, 4, 4, 1}, 8), ShapeError);
  EXPECT_THROW(make({1, 4, 4, 4}, 8), ShapeError);
  EXPECT_THROW(make({0, 4, 4, 3}, 8), ShapeError);
  EXPECT_THROW(make({1, 0, 4, 3}, 8), ShapeError);
  EXPECT_THROW(make({1, 4, -1, 3}, 8), ShapeError);
  EXPECT_THROW(make({1, 4, 4, 3}, 0), ShapeError);
  for (const Index stride : {0, 3})
    EXPECT_THROW(StemProblem::make({1, 4, 4, 3}, 8, Padding::Torch, stride), ShapeError);
}

// Images need no alignment: a crop may begin at any pixel.
TEST(StemConvDevice, InputMayBeginAnywhere) {
  DF_NEEDS_DEVICE();
  const Stem op{StemProblem::make({1, 5, 7, 3}, 8, Padding::Torch)};
  const ConvData d = integer_data(op.sizes());
  Doubles shifted = d.x;
  shifted.insert(shifted.begin(), std::numeric_limits<double>::quiet_NaN());
  DeviceArray<Half> x(shifted), w(d.w), y(op.sizes().y);
  op.forward(Device<Half>{}, x.data() + 1, w.data(), {}, y.data());
  EXPECT_EQ(y.values(), formula(op, d, {}).y);
}

// More tiles than blocks of the weight gradient: a block sums several.
TEST(StemConvDevice, BlocksSumSeveralTiles) {
  DF_NEEDS_DEVICE();
  using Target = Device<Half>;
  const Stem op{StemProblem::make({300, 2, 3, 3}, 8, Padding::Torch)};
  const ConvData d = integer_data(op.sizes());
  expect_exact<Target>(run(Target{}, op, d, {}), formula(op, d, {}));
}

TEST(StemConvDevice, RejectsChannelsAndPointersItCannotLoad) {
  DF_NEEDS_DEVICE();
  DeviceArray<Half> a(2048), b(2048);
  const auto forward = [&](Index k, Index offset) {
    const auto p = StemProblem::make({1, 4, 4, 3}, k, Padding::Torch);
    cuda::stem_forward<Half>(nullptr, p, a.data(), a.data() + offset, {}, b.data());
  };
  EXPECT_THROW(forward(12, 0), ShapeError);
  EXPECT_THROW(forward(8, 1), ShapeError);
  DeviceArray<float> sums(1024);
  const auto p = StemProblem::make({1, 4, 4, 3}, 8, Padding::Torch);
  EXPECT_THROW(cuda::stem_backward_weight<Half>(nullptr, p, a.data(), a.data() + 4, sums.data(),
                                                sums.data()),
               ShapeError);
}

}  // namespace
}  // namespace dfengine::test
