// Mixup as timm's FastCollateMixup has it, its shares by the moments of a beta distribution; label
// smoothing; class weights.
#include "engine/train/targets/mixing.h"

#include <gtest/gtest.h>

#include "engine/train/targets/class_weights.h"
#include "kernels/base/error.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

TEST(Mixup, SharesHaveTheMomentsOfABetaDistribution) {
  constexpr int kDraws = 20000;
  for (const double alpha : {0.2, 1.0, 4.0}) {
    double sum = 0, squares = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double share = draw_share(alpha, 7, static_cast<std::uint64_t>(i % 100), i / 100);
      ASSERT_TRUE(share >= 0 && share <= 1) << share;
      sum += share;
      squares += share * share;
    }
    const double variance = 1 / (4 * (2 * alpha + 1)), mean = sum / kDraws;
    EXPECT_NEAR(mean, 0.5, test::sampling_tolerance(kDraws, variance)) << alpha;
    // A square deviation of at most 1/4 varies by at most 1/4 times itself.
    EXPECT_NEAR(squares / kDraws - mean * mean, variance,
                test::sampling_tolerance(kDraws, variance / 4))
        << alpha;
  }
  EXPECT_EQ(draw_share(1, 3, 4, 5), draw_share(1, 3, 4, 5));
  EXPECT_NE(draw_share(1, 3, 4, 5), draw_share(1, 3, 4, 6));
}

// By hand: np.rint(.25 * x + .75 * x[::-1]).
TEST(Mixup, PicturesMeetThoseOfTheOtherEnd) {
  Batch batch;
  batch.n = 3;
  batch.slices = {{0, 3}};
  batch.images = {10, 20, 7, 8, 14, 200};  // three pictures of two bytes
  batch.targets = {0, 1, 1};
  mix_batch(batch, 0.25);
  // .25 * 10 + .75 * 14 = 13; .25 * 20 + .75 * 200 = 155; the middle meets itself;
  // .25 * 14 + .75 * 10 = 11; .25 * 200 + .75 * 20 = 65.
  EXPECT_EQ(batch.images, (std::vector<std::uint8_t>{13, 155, 7, 8, 11, 65}));
  EXPECT_EQ(batch.targets, (std::vector<float>{0.75f, 1, 0.25f}));
  Batch halves;
  halves.n = 2;
  halves.slices = {{0, 2}};
  halves.images = {1, 2};
  halves.targets = {0, 0};
  mix_batch(halves, 0.5);  // 1.5 is rounded to even
  EXPECT_EQ(halves.images, (std::vector<std::uint8_t>{2, 2}));
  halves.images = {1, 3};
  halves.slices = {{0, 1}, {1, 1}};
  mix_batch(halves, 0.5);  // no picture leaves its slice
  EXPECT_EQ(halves.images, (std::vector<std::uint8_t>{1, 3}));
  Batch none;
  mix_batch(none, 0.5);
  EXPECT_TRUE(none.images.empty());
}

// timm: one_hot(off = smoothing / 2, on = 1 - smoothing + off).
TEST(Smoothing, TargetsComeCloser) {
  std::vector<float> targets = {0, 1, 0.5f};
  smooth_targets(targets, 0.25);
  EXPECT_EQ(targets, (std::vector<float>{0.125f, 0.875f, 0.5f}));
  smooth_targets(targets, 0);
  EXPECT_EQ(targets, (std::vector<float>{0.125f, 0.875f, 0.5f}));
}

TEST(ClassWeights, AreReadAndBalanced) {
  Dataset train;
  for (const int label : {0, 0, 0, 1}) train.samples.push_back({"x", label});
  EXPECT_EQ(weights_for(parse_class_weights("none"), train), BceWeights{});
  EXPECT_EQ(weights_for(parse_class_weights("2,0.5"), train), (BceWeights{2, 0.5}));
  // scikit-learn: n / (classes * n of the class).
  EXPECT_EQ(weights_for(parse_class_weights("balanced"), train), (BceWeights{4.0 / 6, 2}));
  for (const char* text : {"none", "balanced", "2,0.5"})
    EXPECT_EQ(to_string(parse_class_weights(text)), text);
  for (const char* text : {"", "1", "1,2,3", "0,1", "-1,1", "nan,1", "inf,1", "a,b"})
    EXPECT_THROW(parse_class_weights(text), UsageError) << text;
  train.samples.resize(3);
  EXPECT_THROW(weights_for(parse_class_weights("balanced"), train), DataError);
}

}  // namespace
}  // namespace dfengine
