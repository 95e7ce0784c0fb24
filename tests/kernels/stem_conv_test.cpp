// Stem convolution: double against the formula, float against double on every instruction set.
#include "kernels/stem_conv.h"

#include <tuple>

#include "kernels/error.h"
#include "tests/kernels/conv_data.h"

namespace dfengine::test {
namespace {

using cpu::Context;
using cpu::ThreadPool;

std::string describe(const StemProblem& p) {
  return "x [" + std::to_string(p.n) + ", " + std::to_string(p.h) + ", " + std::to_string(p.w) +
         ", 3] k " + std::to_string(p.k) + (p.padding == Padding::Torch ? " torch" : " tf_same");
}

Index input_count(const StemProblem& p) {
  return p.n * p.h * p.w * 3;
}

// Calls body(problem) for every side, padding and batch size, with these output channels.
template <class Body>
void for_each_problem(const std::vector<Index>& channels, Body&& body) {
  for (Index h : kSides)
    for (Index w : kSides)
      for (Index k : channels)
        for (Padding padding : {Padding::Torch, Padding::TfSame})
          for (Index n : {1, 3}) body(StemProblem::make({n, h, w, 3}, k, padding));
}

template <class T>
Values<T> forward(const Context& ctx, const StemProblem& p, const Values<T>& x, const Values<T>& w,
                  const Epilogue<T>& epilogue = {}) {
  Guarded<T> y(p.output().count());
  cpu::stem_forward(ctx, p, x.data(), w.data(), epilogue, y.data());
  return y.checked();
}

template <class T>
Values<T> backward_weight(const Context& ctx, const StemProblem& p, const Values<T>& x,
                          const Values<T>& dy) {
  Guarded<T> scratch(cpu::stem_weight_scratch(p));
  Guarded<T> dw(27 * p.k);
  cpu::stem_backward_weight(ctx, p, x.data(), dy.data(), scratch.data(), Write::Overwrite,
                            dw.data());
  scratch.checked();
  return dw.checked();
}

// The header's formula on an image that is really padded with zeros, one output at a time.
template <class T>
Values<T> formula(const StemProblem& p, const Values<T>& x, const Values<T>& w) {
  const Index padded_h = p.h + 4, padded_w = p.w + 4;
  Values<T> padded(size_of(p.n * padded_h * padded_w * 3), T(0));
  const auto at = [&](Index n, Index i, Index j, Index c) {
    return size_of(((n * padded_h + i) * padded_w + j) * 3 + c);
  };
  std::size_t next = 0;
  for (Index n = 0; n < p.n; ++n)
    for (Index i = 0; i < p.h; ++i)
      for (Index j = 0; j < p.w; ++j)
        for (Index c = 0; c < 3; ++c) padded[at(n, i + p.before_h, j + p.before_w, c)] = x[next++];
  Values<T> y;
  for (Index n = 0; n < p.n; ++n)
    for (Index i = 0; i < p.p; ++i)
      for (Index j = 0; j < p.q; ++j)
        for (Index k = 0; k < p.k; ++k) {
          T sum = 0;
          for (Index r = 0; r < 3; ++r)
            for (Index s = 0; s < 3; ++s)
              for (Index c = 0; c < 3; ++c)
                sum += padded[at(n, 2 * i + r, 2 * j + s, c)] *
                       w[size_of(((r * 3 + s) * 3 + c) * p.k + k)];
          y.push_back(sum);
        }
  return y;
}

TEST(StemConv, GeometryMatchesHandComputedCases) {
  const auto geometry = [](Index side, Padding padding) {
    const StemProblem p = StemProblem::make({1, side, side + 2, 3}, 32, padding);
    EXPECT_EQ(p.before_h, p.before_w);
    return std::tuple(p.p, p.q, p.before_h);
  };
  using G = std::tuple<Index, Index, Index>;
  EXPECT_EQ(geometry(224, Padding::Torch), G(112, 113, 1));
  EXPECT_EQ(geometry(224, Padding::TfSame), G(112, 113, 0));
  EXPECT_EQ(geometry(223, Padding::Torch), G(112, 113, 1));
  EXPECT_EQ(geometry(223, Padding::TfSame), G(112, 113, 1));
}

TEST(StemConv, RejectsShapesThatMakeNoSense) {
  const auto make = [](const Shape& x, Index k) { StemProblem::make(x, k, Padding::Torch); };
  EXPECT_THROW(make({1, 4, 4, 1}, 8), ShapeError);
  EXPECT_THROW(make({1, 4, 4, 4}, 8), ShapeError);
  EXPECT_THROW(make({0, 4, 4, 3}, 8), ShapeError);
  EXPECT_THROW(make({1, 0, 4, 3}, 8), ShapeError);
  EXPECT_THROW(make({1, 4, -1, 3}, 8), ShapeError);
  EXPECT_THROW(make({1, 4, 4, 3}, 0), ShapeError);
}

TEST(StemConv, DoubleMatchesTheFormula) {
  ThreadPool pool(1);
  for_each_problem({1, 5}, [&](const StemProblem& p) {
    const auto x = small_integers<double>(input_count(p), 1);
    const auto w = small_integers<double>(27 * p.k, 2);
    ASSERT_EQ(forward<double>({pool}, p, x, w), formula(p, x, w)) << describe(p);
  });
}

// <dy, conv(x, w)> = <dw, w>, exact on small integers.
TEST(StemConv, DoubleGradientIsAdjoint) {
  ThreadPool pool(1);
  for_each_problem({1, 5}, [&](const StemProblem& p) {
    const auto x = small_integers<double>(input_count(p), 3);
    const auto w = small_integers<double>(27 * p.k, 4);
    const auto dy = small_integers<double>(p.output().count(), 5);
    ASSERT_EQ(dot(backward_weight<double>({pool}, p, x, dy), w), dot(dy, formula(p, x, w)))
        << describe(p);
  });
}

TEST(StemConv, FloatMatchesDouble) {
  ThreadPool pool(1);
  const Context ctx{pool};
  for_each_problem({1, 8, 16, 24, 33, 72}, [&](const StemProblem& p) {
    const auto x = random_values<float>(input_count(p), 6);
    const auto w = random_values<float>(27 * p.k, 7);
    const auto dy = random_values<float>(p.output().count(), 8);
    const auto y = forward(ctx, p, widened(x), widened(w));
    const auto y_abs = forward(ctx, p, absolute(x), absolute(w));
    const auto dw = backward_weight(ctx, p, widened(x), widened(dy));
    const auto dw_abs = backward_weight(ctx, p, absolute(x), absolute(dy));
    const double pixels = static_cast<double>(p.output().rows());
    for_each_isa([&](const std::string& isa) {
      const std::string what = isa + " " + describe(p);
      expect_close(forward(ctx, p, x, w), y, 27, y_abs, what + " y");
      expect_close(backward_weight(ctx, p, x, dy), dw, pixels, dw_abs, what + " dw");
    });
  });
}

TEST(StemConv, FloatIsExactOnSmallIntegers) {
  ThreadPool pool(1);
  const Context ctx{pool};
  for_each_problem({47}, [&](const StemProblem& p) {
    const auto x = small_integers<float>(input_count(p), 9);
    const auto w = small_integers<float>(27 * p.k, 10);
    const auto dy = small_integers<float>(p.output().count(), 11);
    const auto dw = backward_weight(ctx, p, widened(x), widened(dy));
    for_each_isa([&](const std::string& isa) {
      const std::string what = isa + " " + describe(p);
      ASSERT_EQ(forward(ctx, p, x, w), formula(p, x, w)) << what;
      ASSERT_EQ(widened(backward_weight(ctx, p, x, dy)), dw) << what;
    });
  });
}

template <class T>
void check_epilogue(const Context& ctx, const StemProblem& p, const std::string& what) {
  const auto x = small_integers<T>(input_count(p), 12);
  const auto w = small_integers<T>(27 * p.k, 13);
  const auto bias = small_integers<T>(p.k, 14);
  const auto residual = small_integers<T>(p.output().count(), 15);
  const auto plain = formula(p, x, w);
  for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
    Values<T> expected(plain.size()), y = residual;
    for (std::size_t i = 0; i < plain.size(); ++i) {
      T v = plain[i] + bias[i % size_of(p.k)];
      if (activation != Activation::None) v = std::max(v, T(0));
      if (activation == Activation::Relu6) v = std::min(v, T(6));
      expected[i] = v;
    }
    ASSERT_EQ(forward(ctx, p, x, w, {bias.data(), activation, nullptr}), expected) << what;
    for (std::size_t i = 0; i < plain.size(); ++i) expected[i] += residual[i];
    cpu::stem_forward(ctx, p, x.data(), w.data(), {bias.data(), activation, y.data()}, y.data());
    ASSERT_EQ(y, expected) << what << ", residual in place";
  }
}

TEST(StemConv, EpilogueAppliesBiasActivationThenResidual) {
  ThreadPool pool(1);
  const StemProblem p = StemProblem::make({2, 9, 37, 3}, 47, Padding::Torch);
  check_epilogue<double>({pool}, p, "double");
  for_each_isa([&](const std::string& isa) { check_epilogue<float>({pool}, p, isa); });
}

template <class T>
void check_accumulate(const Context& ctx, const StemProblem& p, const std::string& what) {
  const auto x = small_integers<T>(input_count(p), 16);
  const auto dy = small_integers<T>(p.output().count(), 17);
  Values<T> dw = small_integers<T>(27 * p.k, 18);
  auto expected = backward_weight(ctx, p, x, dy);
  for (std::size_t i = 0; i < dw.size(); ++i) expected[i] += dw[i];
  Guarded<T> scratch(cpu::stem_weight_scratch(p));
  cpu::stem_backward_weight(ctx, p, x.data(), dy.data(), scratch.data(), Write::Accumulate,
                            dw.data());
  EXPECT_EQ(dw, expected) << what;
}

TEST(StemConv, AccumulateAddsToWhatIsThere) {
  ThreadPool pool(1);
  const StemProblem p = StemProblem::make({2, 9, 37, 3}, 47, Padding::Torch);
  check_accumulate<double>({pool}, p, "double");
  for_each_isa([&](const std::string& isa) { check_accumulate<float>({pool}, p, isa); });
}

template <class T>
void check_threads(const StemProblem& p) {
  const auto x = random_values<T>(input_count(p), 19);
  const auto w = random_values<T>(27 * p.k, 20);
  const auto dy = random_values<T>(p.output().count(), 21);
  ThreadPool one(1);
  const auto y = forward<T>({one}, p, x, w);
  const auto dw = backward_weight<T>({one}, p, x, dy);
  for (int threads : {2, 3}) {
    ThreadPool pool(threads);
    EXPECT_EQ(forward<T>({pool}, p, x, w), y) << threads << " threads";
    EXPECT_EQ(backward_weight<T>({pool}, p, x, dy), dw) << threads << " threads";
  }
}

TEST(StemConv, ThreadCountDoesNotChangeABit) {
  const StemProblem p = StemProblem::make({3, 56, 56, 3}, 32, Padding::TfSame);
  check_threads<float>(p);
  check_threads<double>(p);
}

}  // namespace
}  // namespace dfengine::test
