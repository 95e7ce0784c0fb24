// Pointwise convolution on the device: every tile with its tails, exact on whole numbers, and how
// tiles are chosen. All else: convolution_test.cpp.
#include "kernels/base/error.h"
#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_warpgroup.h"
#include "tests/kernels/convolutions.h"

namespace dfengine::test {
namespace {

// One kernel with a given tile, or as chosen.
template <class T>
struct Tiled {
  const PointwiseProblem& p;
  const ConvOptions& options;
  DeviceArray<T> x, w, dy, y, dx;
  DeviceArray<float> bias;

  Tiled(const PointwiseProblem& problem, const ConvData& in, const ConvOptions& wanted)
      : p(problem),
        options(wanted),
        x(in.x),
        w(in.w),
        dy(in.dy),
        y(wanted.residual ? in.y : nothing(in.y)),
        dx(wanted.write == Write::Accumulate ? in.dx : nothing(in.dx)),
        bias(in.bias) {}

  static Doubles nothing(const Doubles& like) {
    return Doubles(like.size(), std::numeric_limits<double>::quiet_NaN());
  }
  template <class... Config>
  Doubles forward(const Config&... config) {
    const Epilogue<T, float> epilogue{options.bias ? bias.data() : nullptr, options.activation,
                                      options.residual ? y.data() : nullptr};
    cuda::pointwise_forward<T>(nullptr, config..., p, x.data(), w.data(), epilogue, y.data());
    return y.values();
  }
  Doubles backward_data(const cuda::PointwiseConfig& config) {
    cuda::pointwise_backward_data<T>(nullptr, config, p, dy.data(), w.data(), options.write,
                                     dx.data());
    return dx.values();
  }
  Doubles backward_weight(Index scratch_count, const cuda::PointwiseWeightConfig& config) {
    DeviceArray<float> scratch(scratch_count), dw(p.k * p.c);
    cuda::pointwise_backward_weight<T>(nullptr, config, p, x.data(), dy.data(), scratch.data(),
                                       dw.data());
    scratch.values();
    return dw.values();
  }
};

ConvData integer_inputs(const PointwiseProblem& p) {
  return integer_data(Pointwise{p}.sizes());
}

ConvResults expected(const PointwiseProblem& p, const ConvData& in, const ConvOptions& options) {
  return formula(Pointwise{p}, in, options);
}

// The forward and data gradient of one tile, with what it takes to meet each tail: two steps of
// depth; rows, columns and depth not the tile's.
template <class T>
void check_tile(cuda::PointwiseTile tile) {
  if (cuda::shared_memory_of(tile) > cuda::shared_memory_limit()) return;  // not for this device
  const auto [rows, columns, depth] = cuda::size_of(tile);
  SCOPED_TRACE(testing::Message() << "tile " << rows << "x" << columns << "x" << depth);
  const cuda::PointwiseConfig config{tile, 1};
  const PointwiseProblem forward = PointwiseProblem::make(rows - 3, depth + 8, columns - 8);
  ConvData in = integer_inputs(forward);
  // Without a residual, nothing but its barriers keeps a warp's slices apart.
  const ConvOptions plain = {Activation::Relu6, true, false, Write::Overwrite};
  EXPECT_EQ(Tiled<T>(forward, in, plain).forward(config),
            as_stored<T>(expected(forward, in, plain).y));
  const PointwiseProblem data = PointwiseProblem::make(rows - 3, columns - 8, depth + 8);
  in = integer_inputs(data);
  EXPECT_EQ(Tiled<T>(data, in, kEverything).backward_data(config),
            as_stored<T>(expected(data, in, kEverything).dx));
}

TEST(PointwiseConvDevice, EveryTileIsExactOnWholeNumbers) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (cuda::PointwiseTile tile : cuda::kPointwiseTiles) check_tile<Half>(tile);
  });
  for (cuda::PointwiseTile tile : cuda::kPointwiseTiles) check_tile<BFloat16>(tile);
}

// As above, with more steps than a ring holds, by as many blocks as there are tiles and by two.
template <class T>
void check_tile(cuda::WarpgroupTile tile) {
  const auto [rows, columns, depth] = cuda::size_of(tile);
  SCOPED_TRACE(testing::Message() << "warpgroup tile " << rows << "x" << columns);
  for (Index blocks : {2, 264})
    for (Index c : {Index{24}, 3 * depth + 8}) {
      const PointwiseProblem p = PointwiseProblem::make(2 * rows - 3, c, columns + 8);
      const ConvData in = integer_inputs(p);
      const ConvOptions plain = {Activation::Relu6, true, false, Write::Overwrite};
      for (const ConvOptions& options : {plain, kEverything})
        EXPECT_EQ(Tiled<T>(p, in, options).forward(cuda::WarpgroupConfig{tile, blocks}),
                  as_stored<T>(expected(p, in, options).y));
    }
}

TEST(PointwiseConvDevice, EveryWarpgroupTileIsExactOnWholeNumbers) {
  DF_NEEDS_DEVICE();
  if (!cuda::has_warpgroups()) GTEST_SKIP() << "not a device of compute capability 9.0";
  for_each_thread_order([] {
    for (cuda::WarpgroupTile tile : cuda::kWarpgroupTiles) check_tile<Half>(tile);
  });
  for (cuda::WarpgroupTile tile : cuda::kWarpgroupTiles) check_tile<BFloat16>(tile);
}

// One block takes all tiles of rows; where the weights fit, they are copied for the first round
// alone.
TEST(PointwiseConvDevice, ABlockTakesTilesInTurn) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (Index depth : {24, 96, 136}) {  // 1, 2 and 3 steps of a ring of 4
      SCOPED_TRACE(depth);
      const cuda::PointwiseConfig one{cuda::PointwiseTile::k32x32x64, 1};
      const PointwiseProblem forward = PointwiseProblem::make(32 * 4 + 1, depth, 24);
      ConvData in = integer_inputs(forward);
      EXPECT_EQ(Tiled<Half>(forward, in, kEverything).forward(one),
                as_stored<Half>(expected(forward, in, kEverything).y));
      const cuda::PointwiseConfig two{cuda::PointwiseTile::k32x32x64, 2};
      const PointwiseProblem data = PointwiseProblem::make(32 * 4 + 1, 24, depth);
      in = integer_inputs(data);
      EXPECT_EQ(Tiled<Half>(data, in, kEverything).backward_data(two),
                as_stored<Half>(expected(data, in, kEverything).dx));
    }
  });
}

// Two steps of rows, the last not full; channels not the tile's.
template <class T>
void check_weight_tile(cuda::PointwiseWeightTile tile) {
  const auto [k, c, depth] = cuda::size_of(tile);
  SCOPED_TRACE(testing::Message() << "tile " << k << "x" << c);
  const PointwiseProblem p = PointwiseProblem::make(2 * depth - 5, c - 8, k - 8);
  const ConvData in = integer_inputs(p);
  const cuda::PointwiseWeightConfig config{tile, 1, p.m};
  EXPECT_EQ(Tiled<T>(p, in, {}).backward_weight(0, config), expected(p, in, {}).dw);
}

TEST(PointwiseConvDevice, EveryWeightTileIsExactOnWholeNumbers) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (cuda::PointwiseWeightTile tile : cuda::kPointwiseWeightTiles)
      check_weight_tile<Half>(tile);
  });
  for (cuda::PointwiseWeightTile tile : cuda::kPointwiseWeightTiles)
    check_weight_tile<BFloat16>(tile);
}

// More steps than the ring has stages, several tiles, parts of unequal length.
TEST(PointwiseConvDevice, WeightGradientAddsThePartsOfTheRows) {
  DF_NEEDS_DEVICE();
  const PointwiseProblem p = PointwiseProblem::make(128 * 5 + 1, 40, 24);
  const ConvData in = integer_inputs(p);
  const Doubles want = expected(p, in, {}).dw;
  for_each_thread_order([&] {
    for (Index parts : {1, 2, 3}) {
      const Index rows = (p.m + parts - 1) / parts;
      const cuda::PointwiseWeightConfig config{cuda::PointwiseWeightTile::k32x32, parts, rows};
      EXPECT_EQ(Tiled<Half>(p, in, {}).backward_weight(config.scratch(p), config), want) << parts;
    }
  });
}

// So many rows that float takes its large tiles.
TEST(PointwiseConvDevice, LargeFloatTilesAreExact) {
  DF_NEEDS_DEVICE();
  const PointwiseProblem large = PointwiseProblem::make(64 * 132 - 1, 17, 5);
  const ConvData in = integer_inputs(large);
  EXPECT_EQ(Tiled<float>(large, in, kEverything).forward(), expected(large, in, kEverything).y);
}

TEST(PointwiseConvDevice, RefusesWhatTensorCoresCannotTake) {
  DF_NEEDS_DEVICE();
  DeviceArray<Half> any(64);
  const Epilogue<Half, float> plain;
  EXPECT_THROW(cuda::pointwise_forward<Half>(nullptr, PointwiseProblem::make(2, 12, 8), any.data(),
                                             any.data(), plain, any.data()),
               ShapeError);
  EXPECT_THROW(
      cuda::pointwise_backward_data<Half>(nullptr, PointwiseProblem::make(2, 8, 4), any.data(),
                                          any.data(), Write::Overwrite, any.data()),
      ShapeError);
  EXPECT_THROW(cuda::pointwise_forward<Half>(nullptr, PointwiseProblem::make(1, 8, 8),
                                             any.data() + 4, any.data(), plain, any.data()),
               ShapeError);
}

// What the layers of MobileNetV2 get, at the batch sizes that matter.
TEST(PointwiseConvDevice, LongOperandsAreReadOnceAndTheDeviceIsFilled) {
  using cuda::PointwiseTile;
  const auto tile = [](Index m, Index c, Index k) { return cuda::choose_config(m, k, c).tile; };
  const Index large = 256 * 112 * 112;
  EXPECT_EQ(tile(large, 32, 16), PointwiseTile::k256x16x32);
  EXPECT_EQ(tile(large, 16, 96), PointwiseTile::k128x96x16);
  EXPECT_EQ(tile(large / 4, 24, 144), PointwiseTile::k128x144x32);
  EXPECT_EQ(tile(large / 16, 32, 192), PointwiseTile::k128x192x32);
  EXPECT_EQ(tile(49, 160, 960), PointwiseTile::k32x32x64);
  for (const auto& [m, c, k] :
       {PointwiseProblem::make(large, 32, 16), PointwiseProblem::make(large, 16, 96),
        PointwiseProblem::make(large / 64, 384, 64), PointwiseProblem::make(large / 256, 160, 960),
        PointwiseProblem::make(large / 256, 320, 1280)}) {
    const PointwiseProblem p = PointwiseProblem::make(m, c, k);
    const cuda::PointwiseWeightConfig config = cuda::choose_weight_config(p);
    EXPECT_LE(config.parts * config.rows_per_part - config.rows_per_part, m);
    EXPECT_GE(config.parts * config.rows_per_part, m);
    // Written and read in float against x and dy in 16 bits.
    EXPECT_LE(2 * 8 * config.scratch(p), 2 * m * (c + k));
  }
}

}  // namespace
}  // namespace dfengine::test
