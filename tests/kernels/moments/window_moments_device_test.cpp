// Moments that depthwise convolutions and the stem leave to batch norms: in any number of parts,
// beside those of what was stored, which is what the kernel without moments stores.
#include <functional>

#include "kernels/cuda/depthwise/depthwise_moments.h"
#include "kernels/cuda/stem/stem_moments.h"
#include "tests/kernels/convolutions.h"
#include "tests/kernels/moments/merged_moments.h"

namespace dfengine::test {
namespace {

// plain: the result without moments.
struct Made {
  Doubles y, plain, parts;
};

// x, w and, for depthwise convolutions, a norm for x on the device.
template <class T>
struct Inputs {
  DeviceArray<T> x, w;
  DeviceArray<float> scale, shift;
  NormOnLoad norm;

  Inputs(const Doubles& x_in, const Doubles& w_in, Index c, bool with_norm)
      : x(x_in),
        w(w_in),
        scale(random_integers<double>(c, 8, 1, 2)),
        shift(random_integers<double>(c, 9)) {
    if (with_norm) norm = {scale.data(), shift.data(), Activation::Relu6};
  }
};

template <class T>
Made make(const Depthwise& conv, Inputs<T>& in, Index parts) {
  const DepthwiseProblem& p = conv.p;
  DeviceArray<T> y(p.output().count()), plain(p.output().count());
  DeviceArray<float> values(parts * ChannelMoments::pitch(p.c));
  cuda::depthwise_forward_moments<T>(nullptr, p, in.x.data(), in.w.data(), in.norm, y.data(),
                                     {parts, values.data()});
  cuda::depthwise_forward<T>(nullptr, p, in.x.data(), in.w.data(), {}, plain.data(), in.norm);
  return {y.values(), plain.values(), values.values()};
}

template <class T>
Made make(const Stem& conv, Inputs<T>& in, Index parts) {
  const StemProblem& p = conv.p;
  DeviceArray<T> y(p.output().count()), plain(p.output().count());
  DeviceArray<float> values(parts * ChannelMoments::pitch(p.k));
  cuda::stem_forward_moments<T>(nullptr, p, in.x.data(), in.w.data(), y.data(),
                                {parts, values.data()});
  cuda::stem_forward<T>(nullptr, p, in.x.data(), in.w.data(), {}, plain.data());
  return {y.values(), plain.values(), values.values()};
}

Index parts_by_rule(const Depthwise& conv) {
  return cuda::depthwise_moment_parts(conv.p);
}
Index parts_by_rule(const Stem& conv) {
  return cuda::stem_moment_parts(conv.p);
}
Index channels(const Depthwise& conv) {
  return conv.p.c;
}
Index channels(const Stem& conv) {
  return conv.p.k;
}

// Whole numbers are exact. One part takes all strips and tiles in turn; of more than there are of
// these, some stay empty.
template <class T, class Conv>
void check(const Conv& conv, bool norm) {
  SCOPED_TRACE(conv.name() + (norm ? " norm" : ""));
  const ConvSizes sizes = conv.sizes();
  Inputs<T> in(random_integers<double>(sizes.x, 1), random_integers<double>(sizes.w, 2),
               channels(conv), norm);
  for (Index parts : {Index{1}, Index{3}, parts_by_rule(conv), parts_by_rule(conv) + 2}) {
    const Made made = make<T>(conv, in, parts);
    EXPECT_EQ(made.y, made.plain);
    expect_moments(made.parts, made.y, channels(conv));
  }
}

template <class T, class Conv>
void check_all(bool norm) {
  for (const Conv& conv : Conv::cases())
    if (conv.takes(Device<T>{})) check<T>(conv, norm);
}

TEST(WindowMomentsDevice, Depthwise) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (bool norm : {false, true}) check_all<Half, Depthwise>(norm);
  });
  for (bool norm : {false, true}) check_all<BFloat16, Depthwise>(norm);
}

TEST(WindowMomentsDevice, Stem) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] { check_all<Half, Stem>(false); });
  check_all<BFloat16, Stem>(false);
}

// What does not run beside the others takes as long as all of them: three blocks, each of up to 128
// channels, on each of an H100's 132 multiprocessors.
TEST(WindowMoments, AllBlocksRunTogether) {
  for (Index c : {8, 32, 96, 144, 192, 384, 576, 960, 1280}) {
    const auto p = DepthwiseProblem::make({256, 14, 14, c}, 1, Padding::Torch);
    EXPECT_LE(cuda::depthwise_moment_parts(p) * divide_up(c, Index{128}), 132 * 3) << c;
  }
}

// Several runs for each thread of a depthwise convolution, and several tiles for each block of a
// stem.
TEST(WindowMomentsDevice, ThreePictures) {
  DF_NEEDS_DEVICE();
  for (Index stride : {1, 2}) {
    check<Half>(Depthwise{DepthwiseProblem::make({3, 33, 31, 40}, stride, Padding::TfSame)}, true);
    check<Half>(Stem{StemProblem::make({3, 65, 33, 3}, 32, Padding::Torch, stride)}, false);
  }
}

// Where all pixels are equal the moments are exact, whatever a thread has of them. Weights but the
// middle one are zero, so that the rim is like the rest.
template <class T, class Conv>
void check_equal_pixels(const Conv& conv, Index middle, Index inputs) {
  SCOPED_TRACE(conv.name());
  const Index c = channels(conv), taps = conv.sizes().w / c;
  Doubles x, w(at(conv.sizes().w), 0.0);
  const Doubles pixel = random_integers<double>(inputs, 5);
  while (std::ssize(x) < conv.sizes().x) x.insert(x.end(), pixel.begin(), pixel.end());
  ASSERT_LT(middle, taps);
  for (Index k = 0; k < c; ++k) w[at(middle * c + k)] = static_cast<double>(1 + k % 5);
  Inputs<T> in(x, w, c, false);
  const Made made = make<T>(conv, in, 3);
  const Merged got = merged(made.parts, c);
  EXPECT_EQ(got.means, Doubles(made.y.begin(), made.y.begin() + c));
  EXPECT_EQ(got.squares, Doubles(at(c), 0.0));
}

TEST(WindowMomentsDevice, EqualPixelsHaveNoSpread) {
  DF_NEEDS_DEVICE();
  check_equal_pixels<BFloat16>(Depthwise{DepthwiseProblem::make({3, 17, 9, 24}, 1, Padding::Torch)},
                               4, 24);
  check_equal_pixels<BFloat16>(Stem{StemProblem::make({3, 37, 19, 3}, 24, Padding::Torch, 1)}, 13,
                               3);
}

// A sum of squares would lose what little there is around a mean of a thousand.
template <class Conv>
void check_large_mean(const Conv& conv, Index middle) {
  SCOPED_TRACE(conv.name());
  const Index c = channels(conv);
  Doubles x = random_integers<double>(conv.sizes().x, 7, 0, 1), w(at(conv.sizes().w), 0.0);
  for (double& v : x) v += 1000;
  for (Index k = 0; k < c; ++k) w[at(middle * c + k)] = 1;
  Inputs<Half> in(x, w, c, false);
  const Made made = make<Half>(conv, in, 2);
  const Merged got = merged(made.parts, c), want = exact_moments(made.y, c);
  for (std::size_t k = 0; k < at(c); ++k)
    EXPECT_NEAR(got.squares[k] / want.squares[k], 1, tolerance<float>(want.rows, 1)) << k;
}

TEST(WindowMomentsDevice, ALargeMeanKeepsTheSquares) {
  DF_NEEDS_DEVICE();
  check_large_mean(Depthwise{DepthwiseProblem::make({3, 28, 30, 16}, 1, Padding::Torch)}, 4);
  check_large_mean(Stem{StemProblem::make({2, 40, 40, 3}, 16, Padding::Torch, 1)}, 13);
}

// The last pixel of the last picture.
template <class Conv>
void check_nan(const Conv& conv) {
  SCOPED_TRACE(conv.name());
  Doubles x = random_integers<double>(conv.sizes().x, 1);
  for (Index k = 0; k < channels(conv) && k < conv.sizes().x; ++k)
    x[x.size() - at(1 + k)] = std::nan("");
  Inputs<Half> in(x, random_integers<double>(conv.sizes().w, 2), channels(conv), false);
  const Made made = make<Half>(conv, in, 2);
  const Merged got = merged(made.parts, channels(conv));
  for (std::size_t k = 0; k < at(channels(conv)); ++k) {
    EXPECT_TRUE(std::isnan(got.means[k]));
    EXPECT_TRUE(std::isnan(got.squares[k]));
  }
}

TEST(WindowMomentsDevice, NanIsNotHidden) {
  DF_NEEDS_DEVICE();
  check_nan(Depthwise{DepthwiseProblem::make({2, 9, 7, 8}, 1, Padding::Torch)});
  check_nan(Stem{StemProblem::make({2, 19, 7, 3}, 8, Padding::Torch, 1)});
}

}  // namespace
}  // namespace dfengine::test
