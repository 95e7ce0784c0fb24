// A stem that reads pixels gives the bits of one that reads what they are normalised to.
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/cuda/stem/stem_moments.h"
#include "tests/kernels/convolutions.h"
#include "tests/kernels/moments/merged_moments.h"

namespace dfengine::test {
namespace {

// Pictures of any bytes, and what stands at the end of a row is no zero.
template <class T>
struct Pictures {
  static constexpr double kMean[] = {.485, .456, .406}, kStdDev[] = {.229, .224, .225};
  StemProblem p;
  DeviceStructs<std::uint8_t> pixels;
  DeviceArray<T> values, w;

  explicit Pictures(const StemProblem& problem)
      : p(problem),
        pixels(random_integers<std::uint8_t>(p.n * p.h * p.w * 3, 1, 0, 255)),
        values(p.n * p.h * p.w * 3),
        w(random_uniform<double>(27 * p.k, 2)) {
    cuda::image_normalize<T>(nullptr, p.n * p.h * p.w, kMean, kStdDev, pixels.data(),
                             values.data());
  }
  // Both inputs, of pixels last.
  std::vector<cuda::StemInput<T>> both() {
    return {values.data(), {pixels.data(), PixelAffine::of(kMean, kStdDev)}};
  }
};

template <class T>
void expect_same_forward(Pictures<T>& of) {
  const StemProblem& p = of.p;
  DeviceArray<float> bias(random_uniform<double>(p.k, 3));
  std::vector<Doubles> made;
  for (const cuda::StemInput<T>& x : of.both()) {
    DeviceArray<T> y(p.output().count());
    cuda::stem_forward<T>(nullptr, p, x, of.w.data(), {bias.data(), Activation::Relu6}, y.data());
    made.push_back(y.values());
  }
  EXPECT_EQ(made[1], made[0]);
}

template <class T>
void expect_same_moments(Pictures<T>& of) {
  const StemProblem& p = of.p;
  const Index parts = cuda::stem_moment_parts(p);
  std::vector<Doubles> made;
  for (const cuda::StemInput<T>& x : of.both()) {
    DeviceArray<T> y(p.output().count());
    DeviceArray<float> moments(parts * ChannelMoments::pitch(p.k));
    cuda::stem_forward_moments<T>(nullptr, p, x, of.w.data(), y.data(), {parts, moments.data()});
    made.push_back(y.values());
    expect_moments(moments.values(), made.back(), p.k);
  }
  EXPECT_EQ(made[1], made[0]);
}

// With and without the last step of a batch norm's gradient.
template <class T>
void expect_same_gradient(Pictures<T>& of) {
  const StemProblem& p = of.p;
  const Index count = p.output().count();
  DeviceArray<T> dy(random_uniform<double>(count, 4)), y(random_uniform<double>(count, 5));
  DeviceArray<float> factors(random_uniform<double>(3 * p.k, 6)),
      scratch(cuda::stem_weight_scratch(p));
  for (const GradientOnLoad& gradient : {GradientOnLoad{}, GradientOnLoad{factors.data()}}) {
    std::vector<Doubles> made;
    for (const cuda::StemInput<T>& x : of.both()) {
      DeviceArray<float> dw(27 * p.k);
      cuda::stem_backward_weight<T>(nullptr, p, x, dy.data(), scratch.data(), dw.data(), y.data(),
                                    gradient);
      made.push_back(dw.values());
    }
    EXPECT_EQ(made[1], made[0]);
  }
}

template <class T>
class StemPixelsDevice : public testing::Test {};
using Elements = testing::Types<Half, BFloat16>;
TYPED_TEST_SUITE(StemPixelsDevice, Elements);

TYPED_TEST(StemPixelsDevice, GiveTheBitsOfTheirValues) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (const Index stride : {1, 2})
      for (const Padding padding : {Padding::Torch, Padding::TfSame})
        for (const Shape& image : {Shape{1, 1, 1, 3}, Shape{2, 37, 70, 3}, Shape{1, 16, 35, 3}}) {
          const auto p = StemProblem::make(image, image.h == 37 ? 40 : 16, padding, stride);
          SCOPED_TRACE(Stem{p}.name());
          Pictures<TypeParam> of(p);
          expect_same_forward(of);
          expect_same_moments(of);
          expect_same_gradient(of);
        }
  });
}

TEST(StemPixels, AreForSixteenBits) {
  const auto p = StemProblem::make({1, 4, 4, 3}, 8, Padding::Torch);
  std::uint8_t pixels[48] = {};
  std::vector<float> w(std::size_t{27} * 8), y(at(p.output().count()));
  const cuda::StemInput<float> input(pixels, PixelAffine{});
  EXPECT_THROW(cuda::stem_forward<float>(nullptr, p, input, w.data(), {}, y.data()), ShapeError);
}

}  // namespace
}  // namespace dfengine::test
