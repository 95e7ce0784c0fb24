// Pointwise convolution on the device: every tile, tails in each size, epilogues, both layouts,
// exact on whole numbers and near the double kernels on random ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "kernels/cuda/pointwise_config.h"
#include "kernels/error.h"
#include "kernels/pointwise_conv.h"
#include "tests/support/device.h"
#include "tests/support/random_data.h"

namespace dfengine::test {
namespace {

using Values = std::vector<double>;

struct Inputs {
  Values x, w, dy, bias, y, dx;  // y and dx: what the buffers hold before
};

struct Options {
  Activation activation = Activation::None;
  bool bias = false;
  bool residual = false;  // y itself
  Write write = Write::Overwrite;
};
constexpr Options kEverything = {Activation::Relu6, true, true, Write::Accumulate};

Inputs integer_inputs(const PointwiseProblem& p) {
  return {random_integers<double>(p.m * p.c, 1), random_integers<double>(p.k * p.c, 2),
          random_integers<double>(p.m * p.k, 3), random_integers<double>(p.k, 4),
          random_integers<double>(p.m * p.k, 5), random_integers<double>(p.m * p.c, 6)};
}

// As a T holds them, but the bias, which is float.
template <class T>
Inputs random_inputs(const PointwiseProblem& p) {
  return {as_stored<T>(random_uniform<double>(p.m * p.c, 1)),
          as_stored<T>(random_uniform<double>(p.k * p.c, 2)),
          as_stored<T>(random_uniform<double>(p.m * p.k, 3)),
          random_uniform<double>(p.k, 4),
          as_stored<T>(random_uniform<double>(p.m * p.k, 5)),
          as_stored<T>(random_uniform<double>(p.m * p.c, 6))};
}

struct Outputs {
  Values y, dx, dw;
};

Outputs oracle(const PointwiseProblem& p, const Inputs& in, const Options& options) {
  cpu::ThreadPool pool(1);
  const cpu::Context ctx{pool};
  Outputs out{in.y, in.dx, Values(in.w.size())};
  Values packed(static_cast<std::size_t>(cpu::pointwise_packed_count(p)));
  cpu::pointwise_pack(p, in.w.data(), packed.data());
  const Epilogue<double> epilogue{options.bias ? in.bias.data() : nullptr, options.activation,
                                  options.residual ? out.y.data() : nullptr};
  cpu::pointwise_forward(ctx, p, in.x.data(), packed.data(), epilogue, out.y.data());
  cpu::pointwise_pack_transposed(p, in.w.data(), packed.data());
  cpu::pointwise_backward_data(ctx, p, in.dy.data(), packed.data(), options.write, out.dx.data());
  Values scratch(static_cast<std::size_t>(cpu::pointwise_weight_scratch(p)));
  cpu::pointwise_backward_weight(ctx, p, in.x.data(), in.dy.data(), scratch.data(),
                                 Write::Overwrite, out.dw.data());
  return out;
}

// The device's results, each kernel called through `Kernels` (as chosen, or with a given tile).
template <class T>
struct Device {
  const PointwiseProblem& p;
  const Options& options;
  DeviceArray<T> x, w, dy, y, dx;
  DeviceArray<float> bias;

  Device(const PointwiseProblem& problem, const Inputs& in, const Options& wanted)
      : p(problem),
        options(wanted),
        x(in.x),
        w(in.w),
        dy(in.dy),
        y(wanted.residual ? in.y : nothing(in.y)),
        dx(wanted.write == Write::Accumulate ? in.dx : nothing(in.dx)),
        bias(in.bias) {}

  static Values nothing(const Values& like) {
    return Values(like.size(), std::numeric_limits<double>::quiet_NaN());
  }
  Epilogue<T, float> epilogue() {
    return {options.bias ? bias.data() : nullptr, options.activation,
            options.residual ? y.data() : nullptr};
  }
  template <class... Config>
  Values forward(const Config&... config) {
    cuda::pointwise_forward<T>(nullptr, config..., p, x.data(), w.data(), epilogue(), y.data());
    return y.values();
  }
  template <class... Config>
  Values backward_data(const Config&... config) {
    cuda::pointwise_backward_data<T>(nullptr, config..., p, dy.data(), w.data(), options.write,
                                     dx.data());
    return dx.values();
  }
  template <class... Config>
  Values backward_weight(Index scratch_count, const Config&... config) {
    DeviceArray<float> scratch(scratch_count), dw(p.k * p.c);
    cuda::pointwise_backward_weight<T>(nullptr, config..., p, x.data(), dy.data(), scratch.data(),
                                       dw.data());
    scratch.values();
    return dw.values();
  }
  Outputs all() {
    return {forward(), backward_data(), backward_weight(cuda::pointwise_weight_scratch(p))};
  }
};

// Whole numbers: sums in float are exact, so that only the stored type rounds.
template <class T>
void check_exact(const PointwiseProblem& p, const Options& options) {
  SCOPED_TRACE(testing::Message() << "m " << p.m << " c " << p.c << " k " << p.k);
  const Inputs in = integer_inputs(p);
  const Outputs want = oracle(p, in, options);
  const Outputs got = Device<T>(p, in, options).all();
  EXPECT_EQ(got.y, as_stored<T>(want.y)) << "y";
  EXPECT_EQ(got.dx, as_stored<T>(want.dx)) << "dx";
  EXPECT_EQ(got.dw, want.dw) << "dw";
}

template <class T>
void check_random(const PointwiseProblem& p, const Options& options) {
  SCOPED_TRACE(testing::Message() << "m " << p.m << " c " << p.c << " k " << p.k);
  const Inputs in = random_inputs<T>(p);
  const Outputs want = oracle(p, in, options);
  const auto sizes = [](Values values) {
    for (double& v : values) v = std::abs(v);
    return values;
  };
  Options plain = options;
  plain.activation = Activation::None;
  const Outputs magnitude =
      oracle(p, {sizes(in.x), sizes(in.w), sizes(in.dy), sizes(in.bias), sizes(in.y), sizes(in.dx)},
             plain);
  const Outputs got = Device<T>(p, in, options).all();
  const auto terms = [](Index n) { return static_cast<double>(n + 2); };
  expect_device_close<T>(got.y, want.y, terms(p.c), magnitude.y, "y");
  expect_device_close<T>(got.dx, want.dx, terms(p.k), magnitude.dx, "dx");
  expect_device_close<float>(got.dw, want.dw, terms(p.m), magnitude.dw, "dw");
}

// The forward and data gradient of one tile, with what it takes to meet each tail: two steps of
// depth; rows, columns and depth not the tile's.
template <class T>
void check_tile(cuda::PointwiseTile tile) {
  const auto [rows, columns, depth] = cuda::size_of(tile);
  SCOPED_TRACE(testing::Message() << "tile " << rows << "x" << columns << "x" << depth);
  const cuda::PointwiseConfig config{tile, 1};
  const PointwiseProblem forward = PointwiseProblem::make(rows - 3, depth + 8, columns - 8);
  Inputs in = integer_inputs(forward);
  // Without a residual, nothing but its barriers keeps a warp's slices apart.
  const Options plain = {Activation::Relu6, true, false, Write::Overwrite};
  EXPECT_EQ(Device<T>(forward, in, plain).forward(config),
            as_stored<T>(oracle(forward, in, plain).y));
  const PointwiseProblem data = PointwiseProblem::make(rows - 3, columns - 8, depth + 8);
  in = integer_inputs(data);
  EXPECT_EQ(Device<T>(data, in, kEverything).backward_data(config),
            as_stored<T>(oracle(data, in, kEverything).dx));
}

TEST(PointwiseConvDevice, EveryTileIsExactOnWholeNumbers) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (cuda::PointwiseTile tile : cuda::kPointwiseTiles) check_tile<Half>(tile);
  });
  check_tile<BFloat16>(cuda::PointwiseTile::k64x64x64);
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
      Inputs in = integer_inputs(forward);
      EXPECT_EQ(Device<Half>(forward, in, kEverything).forward(one),
                as_stored<Half>(oracle(forward, in, kEverything).y));
      const cuda::PointwiseConfig two{cuda::PointwiseTile::k32x32x64, 2};
      const PointwiseProblem data = PointwiseProblem::make(32 * 4 + 1, 24, depth);
      in = integer_inputs(data);
      EXPECT_EQ(Device<Half>(data, in, kEverything).backward_data(two),
                as_stored<Half>(oracle(data, in, kEverything).dx));
    }
  });
}

// Two steps of rows, the last not full; channels not the tile's.
template <class T>
void check_weight_tile(cuda::PointwiseWeightTile tile) {
  const auto [k, c, depth] = cuda::size_of(tile);
  SCOPED_TRACE(testing::Message() << "tile " << k << "x" << c);
  const PointwiseProblem p = PointwiseProblem::make(2 * depth - 5, c - 8, k - 8);
  const Inputs in = integer_inputs(p);
  const cuda::PointwiseWeightConfig config{tile, 1, p.m};
  EXPECT_EQ(Device<T>(p, in, {}).backward_weight(0, config), oracle(p, in, {}).dw);
}

TEST(PointwiseConvDevice, EveryWeightTileIsExactOnWholeNumbers) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (cuda::PointwiseWeightTile tile : cuda::kPointwiseWeightTiles)
      check_weight_tile<Half>(tile);
  });
  check_weight_tile<BFloat16>(cuda::PointwiseWeightTile::k32x32);
}

// More steps than the ring has stages, several tiles, parts of unequal length.
TEST(PointwiseConvDevice, WeightGradientAddsThePartsOfTheRows) {
  DF_NEEDS_DEVICE();
  const PointwiseProblem p = PointwiseProblem::make(128 * 5 + 1, 40, 24);
  const Inputs in = integer_inputs(p);
  const Values want = oracle(p, in, {}).dw;
  for_each_thread_order([&] {
    for (Index parts : {1, 2, 3}) {
      const Index rows = (p.m + parts - 1) / parts;
      const cuda::PointwiseWeightConfig config{cuda::PointwiseWeightTile::k32x32, parts, rows};
      EXPECT_EQ(Device<Half>(p, in, {}).backward_weight(config.scratch(p), config), want) << parts;
    }
  });
}

TEST(PointwiseConvDevice, SixteenBitIsNearDouble) {
  DF_NEEDS_DEVICE();
  for (const auto& [m, c, k] : {PointwiseProblem::make(1, 8, 8), PointwiseProblem::make(49, 24, 40),
                                PointwiseProblem::make(75, 72, 16)}) {
    const PointwiseProblem p = PointwiseProblem::make(m, c, k);
    check_random<Half>(p, kEverything);
    check_random<BFloat16>(p, {Activation::Relu, true, false, Write::Overwrite});
  }
}

template <class T>
void check_epilogue(const Options& options) {
  const PointwiseProblem p = PointwiseProblem::make(19, 16, 24);
  const Inputs in = integer_inputs(p);
  EXPECT_EQ(Device<T>(p, in, options).forward(), as_stored<T>(oracle(p, in, options).y));
}

TEST(PointwiseConvDevice, EpiloguesEqualDouble) {
  DF_NEEDS_DEVICE();
  for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
    for (int terms = 0; terms < 4; ++terms) {
      SCOPED_TRACE(testing::Message()
                   << "activation " << static_cast<int>(activation) << " terms " << terms);
      const Options options{activation, (terms & 1) != 0, (terms & 2) != 0, Write::Overwrite};
      check_epilogue<Half>(options);
      check_epilogue<BFloat16>(options);
    }
    check_epilogue<float>({activation, true, true, Write::Overwrite});
  }
}

TEST(PointwiseConvDevice, FloatIsExactForAnyChannels) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    // A warp for each result, and small tiles; below, large ones.
    for (const auto& [m, c, k] :
         {PointwiseProblem::make(3, 130, 1), PointwiseProblem::make(1, 77, 10),
          PointwiseProblem::make(70, 33, 67)})
      check_exact<float>(PointwiseProblem::make(m, c, k), kEverything);
  });
  const PointwiseProblem large = PointwiseProblem::make(64 * 132 - 1, 17, 5);
  const Inputs in = integer_inputs(large);
  EXPECT_EQ(Device<float>(large, in, kEverything).forward(), oracle(large, in, kEverything).y);
  check_random<float>(PointwiseProblem::make(70, 100, 67), kEverything);
}

TEST(PointwiseConvDevice, NanPassesThroughEveryActivation) {
  DF_NEEDS_DEVICE();
  const PointwiseProblem p = PointwiseProblem::make(3, 8, 16);
  Inputs in = integer_inputs(p);
  in.x[9] = std::numeric_limits<double>::quiet_NaN();  // row 1
  for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
    const Values y = Device<Half>(p, in, {.activation = activation}).forward();
    for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / 16 == 1) << i;
  }
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
