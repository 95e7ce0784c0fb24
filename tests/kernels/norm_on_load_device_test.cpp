// Kernels that apply a batch norm to what they load give the very bits that they give for its
// stored result.
#include <gtest/gtest.h>

#include <limits>

#include "kernels/batch_norm.h"
#include "kernels/cuda/pointwise/pointwise_warpgroup.h"
#include "kernels/depthwise_conv.h"
#include "tests/support/device.h"
#include "tests/support/random_data.h"

namespace dfengine::test {
namespace {

using Values = std::vector<double>;

constexpr Activation kActivations[] = {Activation::None, Activation::Relu, Activation::Relu6};

enum class Statistics { Batch, Frozen };

// A batch norm's input [m, c], and both what it stores and what it leaves to its readers.
template <class T>
struct Normed {
  DeviceArray<T> x, y;
  DeviceArray<float> on_load;
  NormOnLoad norm;

  Normed(Index m, Index c, Activation activation, Statistics statistics = Statistics::Batch)
      : x(random_uniform<double>(m * c, 1, -2, 3)), y(m * c), on_load(3 * c) {
    // So that part of the values lies above 6, and padding that is not zero shows.
    DeviceArray<float> gamma(random_uniform<double>(c, 2, -1, 4)),
        beta(random_uniform<double>(c, 3, -1, 5)), running_mean(random_uniform<double>(c, 4)),
        running_var(random_uniform<double>(c, 5, 0.5, 2)), next_mean(c), next_var(c), mean(c),
        rstd(c);
    const BatchNormProblem p = BatchNormProblem::make(m, c, 1e-3, 0.2, activation);
    DeviceArray<float> scratch(cuda::batch_norm_scratch(p));
    if (statistics == Statistics::Frozen) {
      cuda::batch_norm_frozen_forward<T>(nullptr, p, x.data(), gamma.data(), beta.data(),
                                         running_mean.data(), running_var.data(), y.data());
      cuda::batch_norm_frozen_statistics(nullptr, p, gamma.data(), beta.data(), running_mean.data(),
                                         running_var.data(), on_load.data());
    } else {
      cuda::batch_norm_forward<T>(
          nullptr, p, x.data(), gamma.data(), beta.data(), running_mean.data(), running_var.data(),
          next_mean.data(), next_var.data(), scratch.data(), mean.data(), rstd.data(), y.data());
      const Values stored[] = {mean.values(), rstd.values(), next_mean.values(), next_var.values()};
      cuda::batch_norm_statistics<T>(nullptr, p, x.data(), gamma.data(), beta.data(),
                                     running_mean.data(), running_var.data(), next_mean.data(),
                                     next_var.data(), scratch.data(), mean.data(), rstd.data(),
                                     on_load.data());
      EXPECT_EQ(mean.values(), stored[0]);
      EXPECT_EQ(rstd.values(), stored[1]);
      EXPECT_EQ(next_mean.values(), stored[2]);
      EXPECT_EQ(next_var.values(), stored[3]);
    }
    norm = {on_load.data(), on_load.data() + c, activation};
    EXPECT_NE(x.values(), y.values());
  }
};

// ---- Pointwise ----------------------------------------------------------------------------------

// config: none, or how the work is cut.
template <class T, class... Config>
void check_pointwise_forward(Normed<T>& in, const PointwiseProblem& p, const Config&... config) {
  DeviceArray<T> w(random_uniform<double>(p.k * p.c, 6)), from_y(p.m * p.k), from_x(p.m * p.k);
  cuda::pointwise_forward<T>(nullptr, config..., p, in.y.data(), w.data(), {}, from_y.data());
  cuda::pointwise_forward<T>(nullptr, config..., p, in.x.data(), w.data(), {}, from_x.data(),
                             in.norm);
  EXPECT_EQ(from_x.values(), from_y.values()) << "m " << p.m << " c " << p.c << " k " << p.k;
}

template <class T, class... Config>
void check_pointwise_weight(Normed<T>& in, const PointwiseProblem& p, Index scratch_count,
                            const Config&... config) {
  DeviceArray<T> dy(random_uniform<double>(p.m * p.k, 7));
  DeviceArray<float> scratch(scratch_count), from_y(p.k * p.c), from_x(p.k * p.c);
  cuda::pointwise_backward_weight<T>(nullptr, config..., p, in.y.data(), dy.data(), scratch.data(),
                                     from_y.data());
  cuda::pointwise_backward_weight<T>(nullptr, config..., p, in.x.data(), dy.data(), scratch.data(),
                                     from_x.data(), in.norm);
  EXPECT_EQ(from_x.values(), from_y.values()) << "m " << p.m << " c " << p.c << " k " << p.k;
}

// Two steps of depth, and tails in every size. Two blocks, so that one takes tiles in turn.
template <class T>
void check_tile(cuda::PointwiseTile tile) {
  if (cuda::shared_memory_of(tile) > cuda::shared_memory_limit()) return;  // not for this device
  const auto [rows, columns, depth] = cuda::size_of(tile);
  SCOPED_TRACE(testing::Message() << "tile " << rows << "x" << columns << "x" << depth);
  const PointwiseProblem p = PointwiseProblem::make(3 * rows - 5, depth + 8, columns - 8);
  Normed<T> in(p.m, p.c, Activation::Relu6);
  check_pointwise_forward(in, p, cuda::PointwiseConfig{tile, 2});
}

template <class T>
void check_weight_tile(cuda::PointwiseWeightTile tile) {
  const auto [k, c, depth] = cuda::size_of(tile);
  SCOPED_TRACE(testing::Message() << "weight tile " << k << "x" << c);
  const PointwiseProblem p = PointwiseProblem::make(5 * depth - 5, c + 8, k - 8);
  Normed<T> in(p.m, p.c, Activation::Relu6);
  const cuda::PointwiseWeightConfig config{tile, 2, 3 * depth};
  check_pointwise_weight(in, p, config.scratch(p), config);
}

TEST(NormOnLoadDevice, EveryPointwiseTile) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (cuda::PointwiseTile tile : cuda::kPointwiseTiles) check_tile<Half>(tile);
    for (cuda::PointwiseWeightTile tile : cuda::kPointwiseWeightTiles)
      check_weight_tile<Half>(tile);
  });
  for (cuda::PointwiseTile tile : cuda::kPointwiseTiles) check_tile<BFloat16>(tile);
  for (cuda::PointwiseWeightTile tile : cuda::kPointwiseWeightTiles)
    check_weight_tile<BFloat16>(tile);
}

TEST(NormOnLoadDevice, EveryWarpgroupTile) {
  DF_NEEDS_DEVICE();
  if (!cuda::has_warpgroups()) GTEST_SKIP() << "not a device of compute capability 9.0";
  for (cuda::WarpgroupTile tile : cuda::kWarpgroupTiles) {
    const auto [rows, columns, depth] = cuda::size_of(tile);
    const PointwiseProblem p = PointwiseProblem::make(rows + 5, depth + 8, columns + 8);
    Normed<Half> in(p.m, p.c, Activation::Relu6);
    check_pointwise_forward(in, p, cuda::WarpgroupConfig{tile, 2});
    Normed<BFloat16> other(p.m, p.c, Activation::Relu6);
    check_pointwise_forward(other, p, cuda::WarpgroupConfig{tile, 2});
  }
}

template <class T>
void check_pointwise(const PointwiseProblem& p, Activation activation, Statistics statistics) {
  Normed<T> in(p.m, p.c, activation, statistics);
  check_pointwise_forward(in, p);
  check_pointwise_weight(in, p, cuda::pointwise_weight_scratch(p));
}

TEST(NormOnLoadDevice, PointwiseOfEveryType) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (Statistics statistics : {Statistics::Batch, Statistics::Frozen})
      for (Activation activation : kActivations) {
        check_pointwise<Half>({75, 72, 16}, activation, statistics);
        check_pointwise<BFloat16>({75, 72, 16}, activation, statistics);
        // A warp for each result, then tiles.
        check_pointwise<float>({75, 72, 16}, activation, statistics);
        check_pointwise<float>({150, 24, 40}, activation, statistics);
      }
  });
}

// Enough results that floats are cut into tiles of 64x64, with tails both ways.
TEST(NormOnLoadDevice, FloatsInLargeTiles) {
  DF_NEEDS_DEVICE();
  const auto p = PointwiseProblem::make(66 * 64 - 3, 8, 72);
  for_each_thread_order([&] {
    Normed<float> in(p.m, p.c, Activation::Relu6);
    check_pointwise_forward(in, p);
  });
}

// Rows past the end are zeros in shared memory. With an infinite shift they would be none, and
// infinity times the zeros of dy would reach the sums.
TEST(NormOnLoadDevice, RowsPastTheEndStayZero) {
  DF_NEEDS_DEVICE();
  const PointwiseProblem p{21, 16, 8};
  DeviceArray<Half> x(Values(std::size_t{21} * 16, 1.0)), dy(Values(std::size_t{21} * 8, 1.0));
  DeviceArray<float> scale(Values(16, 1.0)),
      shift(Values(16, std::numeric_limits<double>::infinity())), dw(p.k * p.c);
  for (cuda::PointwiseWeightTile tile : cuda::kPointwiseWeightTiles) {
    cuda::pointwise_backward_weight<Half>(nullptr, cuda::PointwiseWeightConfig{tile, 1, 21}, p,
                                          x.data(), dy.data(), nullptr, dw.data(),
                                          {scale.data(), shift.data(), Activation::None});
    EXPECT_EQ(dw.values(), Values(std::size_t{16} * 8, std::numeric_limits<double>::infinity()));
  }
}

// ---- Depthwise ----------------------------------------------------------------------------------

template <class T>
void check_depthwise(const DepthwiseProblem& p, Activation activation, Statistics statistics) {
  SCOPED_TRACE(testing::Message() << "x [" << p.n << ", " << p.h << ", " << p.w << ", " << p.c
                                  << "] stride " << p.stride << " padding "
                                  << static_cast<int>(p.padding));
  Normed<T> in(p.input().rows(), p.c, activation, statistics);
  const Index out = p.output().count();
  DeviceArray<T> w(random_uniform<double>(9 * p.c, 6)), y_from_y(out), y_from_x(out);
  cuda::depthwise_forward<T>(nullptr, p, in.y.data(), w.data(), {}, y_from_y.data());
  cuda::depthwise_forward<T>(nullptr, p, in.x.data(), w.data(), {}, y_from_x.data(), in.norm);
  EXPECT_EQ(y_from_x.values(), y_from_y.values()) << "y";

  DeviceArray<T> dy(random_uniform<double>(out, 7));
  DeviceArray<float> scratch(cuda::depthwise_weight_scratch(p)), from_y(9 * p.c), from_x(9 * p.c);
  cuda::depthwise_backward_weight<T>(nullptr, p, in.y.data(), dy.data(), scratch.data(),
                                     from_y.data());
  cuda::depthwise_backward_weight<T>(nullptr, p, in.x.data(), dy.data(), scratch.data(),
                                     from_x.data(), in.norm);
  EXPECT_EQ(from_x.values(), from_y.values()) << "dw";
}

// Sides of 1 to 19, strips of one row and of several, channel tiles that do not divide evenly.
TEST(NormOnLoadDevice, DepthwiseOfEveryTypeWithZerosOutsideTheImage) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (const Shape& shape :
         {Shape{2, 1, 1, 8}, {1, 2, 3, 8}, {3, 5, 2, 24}, {1, 19, 13, 16}, {1, 3, 2, 264}})
      for (Index stride : {1, 2})
        for (Padding padding : {Padding::Torch, Padding::TfSame}) {
          const DepthwiseProblem p = DepthwiseProblem::make(shape, stride, padding);
          check_depthwise<Half>(p, Activation::Relu6, Statistics::Batch);
          check_depthwise<BFloat16>(p, Activation::None, Statistics::Batch);
          check_depthwise<float>(p, Activation::Relu, Statistics::Frozen);
        }
  });
}

}  // namespace
}  // namespace dfengine::test
