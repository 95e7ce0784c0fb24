// Moments that pointwise convolutions leave to batch norms: of every tile, and the statistics that
// a batch norm makes of them.
#include "kernels/base/error.h"
#include "kernels/batch_norm.h"
#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_warpgroup.h"
#include "tests/kernels/batch_norm_case.h"
#include "tests/kernels/convolutions.h"
#include "tests/kernels/moments/merged_moments.h"

namespace dfengine::test {
namespace {

// x, w and a norm for x on the device, and what the kernels make of them.
template <class T>
struct Made {
  PointwiseProblem p;
  Doubles y, parts;

  template <class Config>
  Made(const Config& config, const PointwiseProblem& problem, const Doubles& x_in,
       const Doubles& w_in, bool with_norm = false)
      : p(problem) {
    DeviceArray<T> x(x_in), w(w_in), out(p.m * p.k), plain(p.m * p.k);
    DeviceArray<float> scale(random_integers<double>(p.c, 8, 1, 2)),
        shift(random_integers<double>(p.c, 9));
    const NormOnLoad norm =
        with_norm ? NormOnLoad{scale.data(), shift.data(), Activation::Relu6} : NormOnLoad{};
    const Index count = cuda::row_parts(config, p.m, p.k);
    DeviceArray<float> values(count * ChannelMoments::pitch(p.k));
    cuda::pointwise_forward_moments<T>(nullptr, config, p, x.data(), w.data(), norm, out.data(),
                                       {count, values.data()});
    cuda::pointwise_forward<T>(nullptr, config, p, x.data(), w.data(), {}, plain.data(), norm);
    y = out.values();
    parts = values.values();
    EXPECT_EQ(y, plain.values()) << "the moments change the result";
  }

  void expect_moments() const { test::expect_moments(parts, y, p.k); }
};

Doubles whole(Index count, std::uint64_t seed) {
  return random_integers<double>(count, seed);
}

// Two tiles of columns, the second with a tail; two blocks for each, of which one takes two tiles
// of rows, the last not full.
template <class T, class Config>
void check_config(const Config& config) {
  const auto [rows, columns, depth] = cuda::size_of(config.tile);
  SCOPED_TRACE(testing::Message() << cuda::name_of(config));
  const PointwiseProblem p = PointwiseProblem::make(3 * rows - 5, depth + 8, columns + 8);
  for (bool norm : {false, true})
    Made<T>(config, p, whole(p.m * p.c, 1), whole(p.k * p.c, 2), norm).expect_moments();
}

template <class T>
void check_tile(cuda::PointwiseTile tile) {
  using cuda::Beside;
  if (cuda::shared_memory_of(tile, Beside::Moments) > cuda::shared_memory_limit()) return;
  check_config<T>(cuda::PointwiseConfig{tile, 4});
}

TEST(ChannelMomentsDevice, EveryPointwiseTile) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (cuda::PointwiseTile tile : cuda::kPointwiseTiles) check_tile<Half>(tile);
  });
  for (cuda::PointwiseTile tile : cuda::kPointwiseTiles) check_tile<BFloat16>(tile);
}

TEST(ChannelMomentsDevice, EveryWarpgroupTile) {
  DF_NEEDS_DEVICE();
  if (!cuda::has_warpgroups()) GTEST_SKIP() << "not a device of compute capability 9.0";
  for (cuda::WarpgroupTile tile : {cuda::WarpgroupTile::k128x64, cuda::WarpgroupTile::k128x80}) {
    check_config<Half>(cuda::WarpgroupConfig{tile, 4});
    check_config<BFloat16>(cuda::WarpgroupConfig{tile, 4});
  }
}

// One block, fewer rows than a tile, a slice or a lane's share has, and more tiles than blocks: the
// lists of some warps and lanes stay empty.
TEST(ChannelMomentsDevice, AnyNumberOfRows) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (cuda::PointwiseTile tile :
         {cuda::PointwiseTile::k256x16x32, cuda::PointwiseTile::k128x96x16,
          cuda::PointwiseTile::k32x32x64})
      for (Index m : {1, 2, 3, 7, 8, 9, 15, 17, 49, 147, 300}) {
        SCOPED_TRACE(testing::Message() << m << " rows");
        const PointwiseProblem p = PointwiseProblem::make(m, 16, 24);
        Made<Half>(cuda::PointwiseConfig{tile, 2}, p, whole(m * 16, 3), whole(p.k * p.c, 4))
            .expect_moments();
      }
  });
}

// Equal rows: the moments are exact, whatever rows a lane has.
TEST(ChannelMomentsDevice, EqualRowsHaveNoSpread) {
  DF_NEEDS_DEVICE();
  const PointwiseProblem p = PointwiseProblem::make(333, 8, 40);
  const Doubles row = whole(p.c, 5), w = whole(p.k * p.c, 6);
  Doubles x;
  for (Index m = 0; m < p.m; ++m) x.insert(x.end(), row.begin(), row.end());
  const Made<BFloat16> made(cuda::PointwiseConfig{cuda::PointwiseTile::k64x64x64, 3}, p, x, w);
  const Merged got = merged(made.parts, p.k);
  EXPECT_EQ(got.means, Doubles(made.y.begin(), made.y.begin() + p.k));
  EXPECT_EQ(got.squares, Doubles(at(p.k), 0.0));
}

// A sum of squares would lose what little there is around a mean of a thousand.
TEST(ChannelMomentsDevice, ALargeMeanKeepsTheSquares) {
  DF_NEEDS_DEVICE();
  const PointwiseProblem p = PointwiseProblem::make(3000, 8, 16);
  Doubles x = whole(p.m * p.c, 7), w(at(p.k * p.c), 0.0);
  for (Index m = 0; m < p.m; ++m) x[at(m * p.c)] = 1;
  for (Index k = 0; k < p.k; ++k) w[at(k * p.c)] = 1000, w[at(k * p.c + 1 + k % 7)] = 1;
  const Made<Half> made(cuda::PointwiseConfig{cuda::PointwiseTile::k256x16x32, 4}, p, x, w);
  const Merged got = merged(made.parts, p.k), want = exact_moments(made.y, p.k);
  for (std::size_t k = 0; k < at(p.k); ++k)
    EXPECT_NEAR(got.squares[k] / want.squares[k], 1, tolerance<float>(3000, 1));
}

TEST(ChannelMomentsDevice, NanIsNotHidden) {
  DF_NEEDS_DEVICE();
  const PointwiseProblem p = PointwiseProblem::make(40, 8, 8);
  Doubles x = whole(p.m * p.c, 1);
  x[at(33 * p.c)] = std::nan("");
  DeviceArray<Half> from(x), w(whole(p.k * p.c, 2)), y(p.m * p.k);
  const cuda::PointwiseConfig config{cuda::PointwiseTile::k32x32x64, 2};
  DeviceArray<float> parts(Index{2} * ChannelMoments::pitch(p.k));
  cuda::pointwise_forward_moments<Half>(nullptr, config, p, from.data(), w.data(), {}, y.data(),
                                        {2, parts.data()});
  const Merged got = merged(parts.values(), p.k);
  for (std::size_t k = 0; k < at(p.k); ++k) {
    EXPECT_TRUE(std::isnan(got.means[k]));
    EXPECT_TRUE(std::isnan(got.squares[k]));
  }
}

TEST(ChannelMomentsDevice, RefusesPartsThatAreNotTheTiles) {
  DF_NEEDS_DEVICE();
  DeviceArray<Half> any(Index{64} * 8);
  DeviceArray<float> parts(Index{3} * ChannelMoments::pitch(8));
  const cuda::PointwiseConfig config{cuda::PointwiseTile::k32x32x64, 2};
  EXPECT_THROW(cuda::pointwise_forward_moments<Half>(nullptr, config, {64, 8, 8}, any.data(),
                                                     any.data(), {}, any.data(), {3, parts.data()}),
               Error);
}

// ---- The statistics of a batch norm -------------------------------------------------------------

// Everything that a batch norm makes of moments, beside the double oracle on what was stored.
template <class T>
void check_batch_norm(const PointwiseProblem& p) {
  SCOPED_TRACE(testing::Message() << p.m << " rows of " << p.k);
  const Made<T> made(cuda::choose_config(p.m, p.k, p.c), p,
                     random_uniform<double>(p.m * p.c, 1, -2, 3),
                     random_uniform<double>(p.k * p.c, 2));
  BatchNormCase d = BatchNormCase::random(p.m, p.k, Activation::Relu6, 3);
  d.x = made.y;
  const BatchNormForward want = forward(Cpu<double>{}, d);
  DeviceArray<T> x(d.x), y(p.m * p.k);
  DeviceArray<float> gamma(d.gamma), beta(d.beta), mean_in(d.mean_in), var_in(d.var_in),
      next_mean(p.k), next_var(p.k), mean(p.k), rstd(p.k), on_load(3 * p.k), parts(made.parts);
  const ChannelMoments moments =
      ChannelMoments::in(parts.data(), std::ssize(made.parts) * kFloatBytes, p.k);
  cuda::batch_norm_statistics<T>(nullptr, d.p, x.data(), gamma.data(), beta.data(), mean_in.data(),
                                 var_in.data(), next_mean.data(), next_var.data(), nullptr,
                                 mean.data(), rstd.data(), on_load.data(), moments);
  const Magnitudes size = magnitudes(d, want.mean, want.rstd);
  const double terms = static_cast<double>(p.m), x_size = largest(d.x);
  const auto near = [&](const Doubles& got, const Doubles& wanted, double magnitude,
                        const char* what) {
    expect_all_near(got, wanted, tolerance<float>(terms, magnitude), what);
  };
  near(mean.values(), want.mean, x_size, "mean");
  near(rstd.values(), want.rstd, largest(want.rstd), "rstd");
  near(next_mean.values(), want.next_mean, x_size, "running mean");
  near(next_var.values(), want.next_var, x_size * x_size, "running var");
  Doubles factor, summand;
  const Doubles told = on_load.values();
  const auto row = [&](Index i) {
    return Doubles(told.begin() + i * p.k, told.begin() + (i + 1) * p.k);
  };
  for (std::size_t k = 0; k < at(p.k); ++k) {
    factor.push_back(d.gamma[k] * want.rstd[k]);
    summand.push_back(d.beta[k] - want.mean[k] * factor[k]);
  }
  near(row(0), factor, largest(factor), "scale");
  near(row(1), summand, size.y, "shift");
  EXPECT_EQ(row(2), mean.values());
  const Doubles saved[] = {mean.values(), rstd.values()};
  cuda::batch_norm_forward<T>(nullptr, d.p, x.data(), gamma.data(), beta.data(), mean_in.data(),
                              var_in.data(), next_mean.data(), next_var.data(), nullptr,
                              mean.data(), rstd.data(), y.data(), moments);
  EXPECT_EQ(mean.values(), saved[0]);
  EXPECT_EQ(rstd.values(), saved[1]);
  expect_all_near(y.values(), want.y, tolerance<T, float>(terms, size.y), "y");
}

// Pictures of 7x7 and 14x14 in batches of 1 and 3; two rows are the fewest.
TEST(ChannelMomentsDevice, ABatchNormMakesItsStatisticsOfThem) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    for (Index m : {2, 49, 147, 588}) {
      check_batch_norm<Half>(PointwiseProblem::make(m, 40, 24));
      check_batch_norm<BFloat16>(PointwiseProblem::make(m, 24, 104));
    }
  });
}

}  // namespace
}  // namespace dfengine::test
