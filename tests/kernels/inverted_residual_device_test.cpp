// An inverted residual block as one kernel gives the very bits of its three convolutions, one after
// the other, which convolution_test.cpp compares with their formulas. All numbers are integers, so
// that sums are exact in whatever order, and both round the same values.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/inverted_residual.h"
#include "kernels/pointwise_conv.h"
#include "tests/support/device.h"
#include "tests/support/random_data.h"

namespace dfengine::test {
namespace {

using Values = std::vector<double>;

// The stand-in's fibers are fifteen times slower under the address sanitizer.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

struct Case {
  Shape x;
  Index wide = 0, out = 0, stride = 1;
  Activation expanded = Activation::Relu6, filtered = Activation::Relu6;
  bool residual = false;
};

InvertedResidualProblem problem(const Case& c, Padding padding) {
  return {.depthwise = DepthwiseProblem::make({c.x.n, c.x.h, c.x.w, c.wide}, c.stride, padding),
          .in = c.x.c,
          .out = c.out,
          .expanded = c.expanded,
          .filtered = c.filtered,
          .residual = c.residual};
}

// The numbers of a block.
template <class T>
struct Block {
  InvertedResidualProblem p;
  Values expand, taps, project, expand_bias, filter_bias, project_bias;
  DeviceArray<T> x;

  explicit Block(const InvertedResidualProblem& problem)
      : p(problem),
        expand(random_integers<double>(p.depthwise.c * p.in, 2, -1, 1)),
        taps(random_integers<double>(9 * p.depthwise.c, 3, -1, 1)),
        project(random_integers<double>(p.out * p.depthwise.c, 4, -1, 1)),
        expand_bias(random_integers<double>(p.depthwise.c, 5, -2, 5)),
        filter_bias(random_integers<double>(p.depthwise.c, 6, -2, 2)),
        project_bias(random_integers<double>(p.out, 7, -9, 9)),
        x(random_integers<double>(p.input().count(), 1, -2, 2)) {}

  Values fused(const cuda::InvertedResidualConfig& config) { return fused(config, x.data()); }
  Values fused(const cuda::InvertedResidualConfig& config, const void* input) {
    const auto matrix = [](const Values& values) {
      std::vector<T> all;
      for (double v : values) all.push_back(stored<T>(v));
      return all;
    };
    const std::vector<T> w1 = matrix(expand), w2 = matrix(taps), w3 = matrix(project);
    const auto b1 = converted<float>(expand_bias), b2 = converted<float>(filter_bias),
               b3 = converted<float>(project_bias);
    std::vector<std::byte> packed(at(cuda::inverted_residual_weight_bytes(p)));
    cuda::pack_inverted_residual_weights<T>(p, {w1, b1, w2, b2, w3, b3}, packed.data());
    DeviceStructs<std::byte> weights(packed);
    DeviceArray<T> y(p.output().count());
    DeviceArray<float> scratch(config.scratch(p) / kFloatBytes);
    cuda::inverted_residual<T>(nullptr, config, p, input, weights.data(), scratch.data(), y.data());
    return y.values();
  }

  Values one_by_one() {
    const Shape wide = p.depthwise.input();
    DeviceArray<T> w(expand), e(wide.count());
    DeviceArray<float> bias(expand_bias);
    cuda::pointwise_forward<T>(nullptr, PointwiseProblem::make(wide.rows(), p.in, wide.c), x.data(),
                               w.data(), {bias.data(), p.expanded}, e.data());
    return behind(e);
  }

  // What the block makes of e.
  Values behind(DeviceArray<T>& e) {
    const DepthwiseProblem& d = p.depthwise;
    DeviceArray<T> w2(taps), w3(project), filtered(d.output().count()), y(p.output().count());
    DeviceArray<float> b2(filter_bias), b3(project_bias);
    cuda::depthwise_forward<T>(nullptr, d, e.data(), w2.data(), {b2.data(), p.filtered},
                               filtered.data());
    cuda::pointwise_forward<T>(
        nullptr, PointwiseProblem::make(d.output().rows(), d.c, p.out), filtered.data(), w3.data(),
        {b3.data(), Activation::None, p.residual ? x.data() : nullptr}, y.data());
    return y.values();
  }
};

template <class T>
class InvertedResidualDevice : public testing::Test {};
using Elements = testing::Types<Half, BFloat16>;
TYPED_TEST_SUITE(InvertedResidualDevice, Elements);

// Less than a tile, several tiles with odd edges, images between which tiles do not reach over,
// channels that fill no chunk and no fragment.
const Case kCases[] = {
    {.x = {1, 1, 1, 8}, .wide = 48, .out = 8},
    {.x = {2, 3, 2, 16}, .wide = 96, .out = 24, .stride = 2},
    {.x = {1, 17, 35, 24}, .wide = 144, .out = 24, .residual = true},
    {.x = {2, 18, 17, 24}, .wide = 56, .out = 32, .stride = 2},
    {.x = {1, 5, 33, 16}, .wide = 96, .out = 16, .residual = true},
    {.x = {3, 9, 7, 32}, .wide = 8, .out = 64, .stride = 2},
    {.x = {1, 10, 14, 64}, .wide = 104, .out = 64, .residual = true},
    {.x = {1, 9, 19, 40}, .wide = 48, .out = 56},
    {.x = {1, 9, 17, 96}, .wide = 56, .out = 96, .residual = true},
    {.x = {2, 11, 6, 72}, .wide = 48, .out = 88, .stride = 2},
    {.x = {1, 7, 7, 160}, .wide = 48, .out = 160, .residual = true},
    {.x = {2, 7, 7, 104}, .wide = 48, .out = 320},
    {.x = {1, 14, 14, 96}, .wide = 56, .out = 160, .stride = 2},
};

TYPED_TEST(InvertedResidualDevice, GivesTheBitsOfThreeConvolutions) {
  DF_NEEDS_DEVICE();
  for (const Case& c : kCases)
    for (Padding padding : {Padding::Torch, Padding::TfSame}) {
      Block<TypeParam> block(problem(c, padding));
      auto configs = cuda::inverted_residual_configs(block.p);
      ASSERT_FALSE(configs.empty());
      if (kSlow) configs.resize(1);
      const Values want = block.one_by_one();
      for (const auto& config : configs)
        ASSERT_EQ(block.fused(config), want)
            << "x " << c.x.h << "x" << c.x.w << "x" << c.x.c << ", " << config.warps << " warps";
    }
}

// Sums of whole numbers are exact in any order: blocks that share a tile give the same bits. Chunks
// that do not divide evenly, as many as there are, and tiles of one warp.
TYPED_TEST(InvertedResidualDevice, GivesThemWhereBlocksShareATile) {
  DF_NEEDS_DEVICE();
  for (const Case& c : {Case{.x = {2, 9, 19, 24}, .wide = 144, .out = 32, .stride = 2},
                        Case{.x = {2, 7, 7, 64}, .wide = 384, .out = 64, .residual = true},
                        Case{.x = {1, 7, 7, 160}, .wide = 240, .out = 160, .residual = true},
                        Case{.x = {1, 7, 7, 160}, .wide = 96, .out = 320},
                        Case{.x = {1, 9, 7, 72}, .wide = 96, .out = 88, .stride = 2},
                        Case{.x = {1, 9, 7, 96}, .wide = 144, .out = 160, .stride = 2}}) {
    Block<TypeParam> block(problem(c, Padding::Torch));
    const Values want = block.one_by_one();
    const auto chunks = static_cast<int>(divide_up(c.wide, Index{48}));
    for (const cuda::InvertedResidualConfig& config :
         {cuda::InvertedResidualConfig{1, 2}, {2, 1}, {2, 2}, {2, chunks}, {4, chunks}})
      ASSERT_EQ(block.fused(config), want)
          << c.x.c << " channels, " << config.warps << " warps, " << config.splits << " splits";
    EXPECT_THROW(block.fused({2, chunks + 1}), Error);
    if (!cuda::has_clusters()) continue;
    for (const cuda::InvertedResidualConfig& config :
         {cuda::InvertedResidualConfig{1, 2, true}, {2, 2, true}, {4, std::min(chunks, 8), true}})
      ASSERT_EQ(block.fused(config), want) << c.x.c << " channels, " << config.warps << " warps, "
                                           << config.splits << " splits in a cluster";
  }
}

// Numbers that are no integers: an order of its own would give other bits.
TYPED_TEST(InvertedResidualDevice, AddsInAClusterInTheOrderOfTheSecondKernel) {
  DF_NEEDS_DEVICE();
  if (!cuda::has_clusters()) GTEST_SKIP() << "not a device of compute capability 9.0 or later";
  Block<TypeParam> block(
      problem({.x = {1, 7, 7, 64}, .wide = 384, .out = 64, .residual = true}, Padding::Torch));
  block.project = random_uniform<double>(Index{64} * 384, 8);
  block.project_bias = random_uniform<double>(64, 9);
  for (int splits : {2, 3, 8})
    EXPECT_EQ(block.fused({2, splits, true}), block.fused({2, splits})) << splits << " splits";
  EXPECT_THROW(block.fused({2, 9, true}), Error);
}

// Biases that 16 bits do not have, which the products nearly cancel: their rounding would be seen.
// And such as no sum of such numbers reaches.
TYPED_TEST(InvertedResidualDevice, HasBiasesAsFloats) {
  DF_NEEDS_DEVICE();
  Block<TypeParam> block(problem({.x = {1, 5, 9, 16}, .wide = 48, .out = 16}, Padding::Torch));
  std::vector<double> x = block.x.values();
  for (std::size_t i = 0; i < x.size(); i += 16) x[i] = 2;
  block.x = DeviceArray<TypeParam>(x);
  for (Index c = 0; c < 48; ++c) {
    const double sign = c % 2 == 0 ? 1 : -1;
    block.expand[at(c * 16)] = -sign * 1024;
    block.expand_bias[at(c)] = c % 7 == 6 ? sign * 1e6 : sign * 2048 + static_cast<double>(c) / 4;
  }
  const Values want = block.one_by_one();
  for (const auto& config : cuda::inverted_residual_configs(block.p))
    ASSERT_EQ(block.fused(config), want) << config.warps << " warps";
}

// The stem, its normalisation included, in place of the expansion.
template <class T>
void check_pixels(const Shape& image, Index wide, Index out, Padding padding) {
  // x - 2 for pixels, once they are normalised.
  const double mean[] = {2 / 255.0, 2 / 255.0, 2 / 255.0},
               std_dev[] = {1 / 255.0, 1 / 255.0, 1 / 255.0};
  const PixelInput pixels{.stem = StemProblem::make(image, wide, padding),
                          .affine = PixelAffine::of(mean, std_dev)};
  const StemProblem& stem = pixels.stem;
  Block<T> block({.depthwise = DepthwiseProblem::make(stem.output(), 1, padding),
                  .in = PixelInput::kDepth,
                  .out = out,
                  .pixels = pixels});
  const Values w = random_integers<double>(27 * wide, 8, -1, 1);
  std::ranges::fill(block.expand, 0.0);
  for (Index i = 0; i < 27 * wide; ++i) {
    const Index tap = i / wide, depth = PixelInput::depth(tap / 9, tap / 3 % 3, tap % 3);
    block.expand[at(i % wide * PixelInput::kDepth + depth)] = w[at(i)];
  }
  DeviceStructs<std::uint8_t> x(random_integers<std::uint8_t>(image.count(), 9, 0, 4));
  DeviceArray<T> normalized(image.count()), weights(w), e(stem.output().count());
  DeviceArray<float> bias(block.expand_bias);
  cuda::image_normalize<T>(nullptr, image.rows(), mean, std_dev, x.data(), normalized.data());
  cuda::stem_forward<T>(nullptr, stem, normalized.data(), weights.data(),
                        {bias.data(), Activation::Relu6}, e.data());
  const Values want = block.behind(e);
  const auto configs = cuda::inverted_residual_configs(block.p);
  ASSERT_FALSE(configs.empty());
  for (const auto& config : configs)
    ASSERT_EQ(block.fused(config, x.data()), want)
        << "pixels " << image.h << "x" << image.w << ", " << config.warps << " warps";
}

TYPED_TEST(InvertedResidualDevice, TakesPixels) {
  DF_NEEDS_DEVICE();
  for (Padding padding : {Padding::Torch, Padding::TfSame}) {
    check_pixels<TypeParam>({1, 1, 1, 3}, 8, 8, padding);
    check_pixels<TypeParam>({2, 33, 70, 3}, 32, 16, padding);
    check_pixels<TypeParam>({1, 18, 9, 3}, 40, 24, padding);
    // Images that begin and end inside of a word.
    check_pixels<TypeParam>({3, 7, 9, 3}, 32, 16, padding);
  }
}

// The shapes of the network, at the batch sizes of a device.
TYPED_TEST(InvertedResidualDevice, GivesThemAtTheShapesOfTheNetwork) {
  DF_NEEDS_DEVICE();
  if (cuda::is_emulated()) GTEST_SKIP() << "too slow in the stand-in for a GPU";
  for (const Case& c : {Case{.x = {3, 112, 112, 16}, .wide = 96, .out = 24, .stride = 2},
                        Case{.x = {3, 56, 56, 24}, .wide = 144, .out = 24, .residual = true},
                        Case{.x = {3, 56, 56, 24}, .wide = 144, .out = 32, .stride = 2},
                        Case{.x = {3, 28, 28, 32}, .wide = 192, .out = 64, .stride = 2},
                        Case{.x = {64, 14, 14, 64}, .wide = 384, .out = 64, .residual = true},
                        Case{.x = {3, 14, 14, 96}, .wide = 576, .out = 96, .residual = true},
                        Case{.x = {3, 14, 14, 96}, .wide = 576, .out = 160, .stride = 2},
                        Case{.x = {3, 7, 7, 160}, .wide = 960, .out = 160, .residual = true},
                        Case{.x = {3, 7, 7, 160}, .wide = 960, .out = 320}}) {
    Block<TypeParam> block(problem(c, Padding::Torch));
    const Values want = block.one_by_one();
    for (const auto& config : cuda::inverted_residual_configs(block.p))
      ASSERT_EQ(block.fused(config), want) << c.x.h << ", " << config.warps << " warps";
  }
}

TEST(InvertedResidualConfigs, NoneWhereThereIsNoKernel) {
  const auto count = [](const Case& c) {
    return cuda::inverted_residual_configs(problem(c, Padding::Torch)).size();
  };
  EXPECT_GT(count({.x = {1, 9, 9, 160}, .wide = 384, .out = 160}), 0U);
  EXPECT_EQ(count({.x = {1, 9, 9, 168}, .wide = 384, .out = 64}), 0U);
  EXPECT_EQ(count({.x = {1, 9, 9, 64}, .wide = 384, .out = 328}), 0U);
  EXPECT_EQ(count({.x = {1, 9, 9, 96}, .wide = 384, .out = 168, .stride = 2}), 0U);
  EXPECT_EQ(count({.x = {1, 9, 9, 12}, .wide = 48, .out = 16}), 0U);
  for (const Activation other : {Activation::None, Activation::Relu}) {
    EXPECT_EQ(count({.x = {1, 9, 9, 16}, .wide = 48, .out = 16, .expanded = other}), 0U);
    EXPECT_EQ(count({.x = {1, 9, 9, 16}, .wide = 48, .out = 16, .filtered = other}), 0U);
  }
  EXPECT_EQ(count({.x = {1, 9, 9, 8}, .wide = 48, .out = 16, .residual = true}), 0U);
}

// Blocks that do not fit are left out.
TEST(InvertedResidualConfigs, FitIntoSharedMemory) {
  const InvertedResidualProblem p =
      problem({.x = {1, 112, 112, 16}, .wide = 96, .out = 24, .stride = 2}, Padding::Torch);
  const auto all = cuda::inverted_residual_configs(p, 227 << 10);
  const auto few = cuda::inverted_residual_configs(p, 64 << 10);
  EXPECT_LT(few.size(), all.size());
  EXPECT_FALSE(few.empty());
  EXPECT_TRUE(cuda::inverted_residual_configs(p, 8 << 10).empty());
}

}  // namespace
}  // namespace dfengine::test
