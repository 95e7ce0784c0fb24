// Depthwise convolution: its geometry, and what only its device kernels have. Its numbers:
// convolution_test.cpp.
#include <tuple>

#include "kernels/base/error.h"
#include "tests/kernels/convolutions.h"

namespace dfengine::test {
namespace {

TEST(DepthwiseConv, GeometryMatchesHandComputedCases) {
  const auto geometry = [](Index side, Index stride, Padding padding) {
    const DepthwiseProblem p = DepthwiseProblem::make({1, side, side + 2, 8}, stride, padding);
    EXPECT_EQ(p.before_h, p.before_w);
    return std::tuple(p.p, p.q, p.before_h);
  };
  using G = std::tuple<Index, Index, Index>;
  EXPECT_EQ(geometry(8, 1, Padding::Torch), G(8, 10, 1));
  EXPECT_EQ(geometry(8, 1, Padding::TfSame), G(8, 10, 1));
  EXPECT_EQ(geometry(8, 2, Padding::Torch), G(4, 5, 1));
  EXPECT_EQ(geometry(7, 2, Padding::Torch), G(4, 5, 1));
  EXPECT_EQ(geometry(8, 2, Padding::TfSame), G(4, 5, 0));
  EXPECT_EQ(geometry(7, 2, Padding::TfSame), G(4, 5, 1));
  EXPECT_EQ(geometry(1, 2, Padding::TfSame), G(1, 2, 1));
}

// x = 1..4 in a row, taps 10, 20, 30 in the middle window row: by hand from TensorFlow's rule.
TEST(DepthwiseConv, TfSamePadsAnEvenInputOnlyBehind) {
  const std::vector<float> x{1, 2, 3, 4, 5}, w{0, 0, 0, 10, 20, 30, 0, 0, 0};
  const auto run = [&](Index width, Padding padding) {
    const Depthwise op{DepthwiseProblem::make({1, 1, width, 1}, 2, padding)};
    HostArray<float> y(op.sizes().y);
    op.forward(Cpu<float>{}, x.data(), w.data(), {}, y.data());
    return y.values();
  };
  EXPECT_EQ(run(4, Padding::TfSame), (Doubles{140, 110}));
  EXPECT_EQ(run(4, Padding::Torch), (Doubles{80, 200}));
  EXPECT_EQ(run(5, Padding::TfSame), (Doubles{80, 200, 140}));
}

TEST(DepthwiseConv, RejectsShapesThatMakeNoSense) {
  const auto make = [](const Shape& x, Index stride) {
    DepthwiseProblem::make(x, stride, Padding::Torch);
  };
  EXPECT_THROW(make({0, 4, 4, 8}, 1), ShapeError);
  EXPECT_THROW(make({1, 0, 4, 8}, 1), ShapeError);
  EXPECT_THROW(make({1, 4, -4, 8}, 1), ShapeError);
  EXPECT_THROW(make({1, 4, 4, 0}, 1), ShapeError);
  EXPECT_THROW(make({1, 4, 4, 8}, 0), ShapeError);
  EXPECT_THROW(make({1, 4, 4, 8}, 3), ShapeError);
}

// Enough threads for strips of full length on a large GPU.
TEST(DepthwiseConvDevice, FullGridIsExact) {
  DF_NEEDS_DEVICE();
  if (cuda::is_emulated()) GTEST_SKIP() << "too slow in the stand-in for a GPU";
  using Target = Device<Half>;
  for (Index stride : {1, 2})
    for (Padding padding : kPaddings) {
      const Depthwise op{DepthwiseProblem::make({8, 29, 27, 960}, stride, padding)};
      const ConvData d = integer_data(op.sizes());
      expect_exact<Target>(run(Target{}, op, d, {}), formula(op, d, {}));
    }
}

// So many strips that each thread of the weight gradient has several, one after the other.
TEST(DepthwiseConvDevice, BeyondFullGridIsExact) {
  DF_NEEDS_DEVICE();
  using Target = Device<Half>;
  const Shape x = cuda::is_emulated() ? Shape{2, 29, 21, 96} : Shape{64, 3, 49, 384};
  for (Index stride : {1, 2})
    for (Padding padding : kPaddings) {
      const Depthwise op{DepthwiseProblem::make(x, stride, padding)};
      const ConvData d = integer_data(op.sizes());
      expect_exact<Target>(run(Target{}, op, d, {}), formula(op, d, {}));
    }
}

TEST(DepthwiseConvDevice, RejectsChannelsAndPointersItCannotLoad) {
  DF_NEEDS_DEVICE();
  DeviceArray<Half> a(1024), b(1024);
  DeviceArray<float> sums(1024);
  const auto forward = [&](Index channels, Index offset) {
    const auto p = DepthwiseProblem::make({1, 2, 2, channels}, 1, Padding::Torch);
    cuda::depthwise_forward<Half>(nullptr, p, a.data() + offset, a.data(), {}, b.data());
  };
  EXPECT_THROW(forward(12, 0), ShapeError);
  EXPECT_THROW(forward(8, 1), ShapeError);
  const auto p = DepthwiseProblem::make({1, 2, 2, 8}, 2, Padding::Torch);
  EXPECT_THROW(cuda::depthwise_backward_data<Half>(nullptr, p, a.data(), a.data() + 4,
                                                   Write::Overwrite, b.data()),
               ShapeError);
  EXPECT_THROW(cuda::depthwise_backward_weight<Half>(nullptr, p, a.data() + 4, a.data(),
                                                     sums.data(), sums.data()),
               ShapeError);
}

}  // namespace
}  // namespace dfengine::test
