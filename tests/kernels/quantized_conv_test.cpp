// Quantized convolutions against plain loops, to the last bit, on every instruction set.
#include "kernels/quantized_conv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/memory.h"
#include "kernels/cpu/simd/quantized_conv.h"

namespace dfengine::test {
namespace {

struct Data {
  std::vector<std::uint8_t> x, residual;
  std::vector<std::int8_t> w;
  std::vector<std::int32_t> bias;
  std::vector<float> scale;
  QuantizedEpilogue epilogue;
  QuantizedWeights weights() const { return {w.data(), bias.data(), scale.data()}; }
};

// Everything there is: all bytes, sums that are rounded both ways, and ties.
Data random_data(Index x, Index w, Index k, Index y, bool residual, unsigned seed) {
  std::mt19937 random(seed);
  const auto of = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  Data d;
  for (Index i = 0; i < x; ++i) d.x.push_back(static_cast<std::uint8_t>(of(0, 255)));
  for (Index i = 0; i < w; ++i) d.w.push_back(static_cast<std::int8_t>(of(-127, 127)));
  const double spread = 127 * 255 / 3. * std::sqrt(std::max(1., static_cast<double>(w / k)));
  for (Index i = 0; i < k; ++i) {
    d.bias.push_back(of(-10000, 10000));
    d.scale.push_back(i % 8 == 0 ? std::ldexp(1.f, -static_cast<int>(std::log2(spread / 64)))
                                 : static_cast<float>(of(50, 150) / spread));
  }
  d.epilogue.zero = of(0, 255);
  if (residual) {
    for (Index i = 0; i < y; ++i) d.residual.push_back(static_cast<std::uint8_t>(of(0, 255)));
    d.epilogue.residual = d.residual.data();
    d.epilogue.residual_zero = of(0, 255);
    d.epilogue.residual_scale = static_cast<float>(of(1, 200)) / 100;
  }
  return d;
}

std::uint8_t finish(const Data& d, std::int64_t sum, Index k, Index i) {
  const volatile float scaled = static_cast<float>(sum + d.bias[at(k)]) * d.scale[at(k)];
  float value = scaled;
  if (d.epilogue.residual != nullptr) {
    const volatile float skip = static_cast<float>(d.residual[at(i)] - d.epilogue.residual_zero) *
                                d.epilogue.residual_scale;
    value += skip;
  }
  const long rounded = std::lrint(value) + d.epilogue.zero;
  return static_cast<std::uint8_t>(std::min(255L, std::max(0L, rounded)));
}

class Quantized : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    before_ = cpu::current_isa();
    for (const cpu::Isa isa : {cpu::Isa::Baseline, cpu::Isa::Avx2, cpu::Isa::Avx512}) {
      if (GetParam() != cpu::isa_name(isa)) continue;
      if (!cpu::isa_supported(isa)) GTEST_SKIP() << "this machine has no " << GetParam();
      cpu::set_isa(isa);
    }
  }
  void TearDown() override { cpu::set_isa(before_); }
  cpu::Context ctx() { return {pool_}; }

 private:
  cpu::Isa before_ = cpu::Isa::Baseline;
  ThreadPool pool_{2};
};

TEST_P(Quantized, Pointwise) {
  unsigned seed = 0;
  for (const auto& [m, c, k] : {std::array<Index, 3>{1, 8, 8},
                                {5, 16, 24},
                                {49, 960, 160},
                                {30, 24, 144},
                                {13, 40, 56},
                                {1, 320, 1280},
                                {3000, 32, 16}})
    for (const bool residual : {false, true}) {
      const auto p = PointwiseProblem::make(m, c, k);
      const Data d = random_data(m * c, k * c, k, m * k, residual, ++seed);
      const Memory packed(cpu::quantized_pointwise_bytes(p));
      cpu::quantized_pointwise_pack(p, d.weights(), packed.data());
      std::vector<std::uint8_t> y(at(m * k)), expected(at(m * k));
      cpu::quantized_pointwise(ctx(), p, d.x.data(), packed.data(), d.epilogue, y.data());
      for (Index i = 0; i < m; ++i)
        for (Index j = 0; j < k; ++j) {
          std::int64_t sum = 0;
          for (Index l = 0; l < c; ++l) sum += d.x[at(i * c + l)] * d.w[at(j * c + l)];
          expected[at(i * k + j)] = finish(d, sum, j, i * k + j);
        }
      EXPECT_EQ(y, expected) << m << " x " << c << " to " << k << ", residual " << residual;
    }
}

TEST_P(Quantized, Depthwise) {
  unsigned seed = 100;
  for (const Index c : {8, 16, 24, 40, 96, 144, 200, 64, 120})
    for (const Index stride : {1, 2})
      for (const Padding padding : {Padding::Torch, Padding::TfSame})
        for (const auto& [h, w] : {std::pair<Index, Index>{1, 1}, {2, 3}, {7, 7}, {9, 8}, {6, 5}}) {
          const auto p = DepthwiseProblem::make({2, h, w, c}, stride, padding);
          Data d = random_data(2 * h * w * c, 9 * c, c, 0, false, ++seed);
          const Memory packed(cpu::quantized_depthwise_bytes(p));
          cpu::quantized_depthwise_pack(p, d.weights(), packed.data());
          std::vector<std::uint8_t> y(at(p.output().count())), expected;
          cpu::quantized_depthwise(ctx(), p, d.x.data(), packed.data(), d.epilogue, y.data());
          for (Index i = 0; i < p.output().count(); ++i) {
            const Index k = i % c, q = i / c % p.q, row = i / c / p.q % p.p, n = i / c / p.q / p.p;
            std::int64_t sum = 0;
            for (Index r = 0; r < 3; ++r)
              for (Index s = 0; s < 3; ++s) {
                const Index a = row * stride + r - p.before_h, b = q * stride + s - p.before_w;
                if (a < 0 || a >= h || b < 0 || b >= w) continue;
                sum += d.x[at(((n * h + a) * w + b) * c + k)] * d.w[at((r * 3 + s) * c + k)];
              }
            expected.push_back(finish(d, sum, k, i));
          }
          EXPECT_EQ(y, expected) << h << " x " << w << " x " << c << ", stride " << stride;
        }
}

TEST_P(Quantized, Stem) {
  unsigned seed = 500;
  const std::array<std::uint8_t, 3> outside = {124, 116, 104};
  for (const Index k : {8, 16, 32, 48})
    for (const Index stride : {1, 2})
      for (const Padding padding : {Padding::Torch, Padding::TfSame})
        for (const auto& [h, w] : {std::pair<Index, Index>{1, 1}, {6, 7}, {17, 4}}) {
          const auto p = StemProblem::make({2, h, w, 3}, k, padding, stride);
          const Data d = random_data(2 * h * w * 3, 27 * k, k, 0, false, ++seed);
          const Memory packed(cpu::quantized_stem_bytes(p));
          const Memory scratch(cpu::quantized_stem_scratch(p));
          cpu::quantized_stem_pack(p, d.weights(), packed.data());
          std::vector<std::uint8_t> y(at(p.output().count())), expected;
          cpu::quantized_stem(ctx(), p, d.x.data(), outside, packed.data(), d.epilogue,
                              scratch.data(), y.data());
          for (Index i = 0; i < p.output().count(); ++i) {
            const Index out = i % k, q = i / k % p.q, row = i / k / p.q % p.p,
                        n = i / k / p.q / p.p;
            std::int64_t sum = 0;
            for (Index tap = 0; tap < 27; ++tap) {
              const Index a = row * stride + tap / 9 - p.before_h;
              const Index b = q * stride + tap / 3 % 3 - p.before_w;
              const bool inside = a >= 0 && a < h && b >= 0 && b < w;
              const int pixel =
                  inside ? d.x[at(((n * h + a) * w + b) * 3 + tap % 3)] : outside[at(tap % 3)];
              sum += pixel * d.w[at(tap * k + out)];
            }
            expected.push_back(finish(d, sum, out, i));
          }
          EXPECT_EQ(y, expected) << h << " x " << w << " to " << k << ", stride " << stride;
        }
}

TEST_P(Quantized, Pool) {
  const Data d = random_data(3 * 49 * 1000, 0, 1, 0, false, 7);
  std::vector<float> y(3000);
  cpu::quantized_average_pool(ctx(), {3, 7, 7, 1000}, d.x.data(), .25f, y.data());
  for (Index i = 0; i < 3000; ++i) {
    int sum = 0;
    for (Index j = 0; j < 49; ++j) sum += d.x[at((i / 1000 * 49 + j) * 1000 + i % 1000)];
    EXPECT_EQ(y[at(i)], .25f / 49 * static_cast<float>(sum));
  }
}

INSTANTIATE_TEST_SUITE_P(All, Quantized, testing::Values("baseline", "avx2", "avx512"));

// Of a machine with VNNI, the test above takes that set for AVX-512.
TEST(QuantizedWithoutVnni, GivesTheSameBits) {
#if DF_X86_ISAS
  if (!cpu::isa_supported(cpu::Isa::Avx512)) GTEST_SKIP() << "this machine has no AVX-512";
  const Data d = random_data(40 * 16, 32 * 16, 32, 0, false, 3);
  const auto p = DepthwiseProblem::make({1, 5, 8, 64}, 1, Padding::Torch);
  const Data deep = random_data(5 * 8 * 64, 12 * 64, 64, 0, false, 4);
  const auto run = [&](const cpu::QuantizedTable& table) {
    std::vector<std::uint8_t> y(40 * 32 + at(p.output().count()));
    QuantizedEpilogue e = d.epilogue;
    e.bias = d.bias.data();
    e.scale = d.scale.data();
    table.multiply({.rows = 40,
                    .columns = 32,
                    .depth = 4,
                    .a = d.x.data(),
                    .a_stride = 16,
                    .packed = d.w.data(),
                    .epilogue = e,
                    .y = y.data(),
                    .y_stride = 32});
    e.bias = deep.bias.data();
    e.scale = deep.scale.data();
    table.depthwise(p, deep.x.data(), deep.w.data(), e, 0, p.p, y.data() + 40 * 32);
    return y;
  };
  EXPECT_EQ(run(cpu::avx512::quantized_table), run(cpu::avx2::quantized_table));
#else
  GTEST_SKIP() << "not an x86 machine";
#endif
}

TEST(QuantizedPack, RefusesChannelsThatAreNotInEights) {
  const Data d = random_data(0, 12 * 12, 12, 0, false, 1);
  std::vector<std::byte> packed(4096);
  EXPECT_THROW(
      cpu::quantized_pointwise_pack(PointwiseProblem::make(1, 12, 8), d.weights(), packed.data()),
      ShapeError);
  EXPECT_THROW(
      cpu::quantized_pointwise_pack(PointwiseProblem::make(1, 8, 12), d.weights(), packed.data()),
      ShapeError);
  EXPECT_THROW(
      cpu::quantized_depthwise_pack(DepthwiseProblem::make({1, 3, 3, 12}, 1, Padding::Torch),
                                    d.weights(), packed.data()),
      ShapeError);
  EXPECT_THROW(cpu::quantized_stem_pack(StemProblem::make({1, 3, 3, 3}, 12, Padding::Torch),
                                        d.weights(), packed.data()),
               ShapeError);
}

TEST(QuantizedSum, IsTheLargestThatAnyInputGives) {
  const std::int8_t w[] = {1, 99, -2, 99, 3, 99};
  EXPECT_EQ(cpu::largest_sum(w, 3, 2, 10), 4 * 255 + 10);
  EXPECT_EQ(cpu::largest_sum(w, 3, 2, -1000), 2 * 255 + 1000);
}

}  // namespace
}  // namespace dfengine::test
