// Depthwise convolution: double against the formula, float against double on every instruction set.
#include "kernels/depthwise_conv.h"

#include <tuple>

#include "kernels/error.h"
#include "tests/kernels/conv_data.h"

namespace dfengine::test {
namespace {

using cpu::Context;
using cpu::ThreadPool;

std::string describe(const DepthwiseProblem& p) {
  return "x [" + std::to_string(p.n) + ", " + std::to_string(p.h) + ", " + std::to_string(p.w) +
         ", " + std::to_string(p.c) + "] stride " + std::to_string(p.stride) +
         (p.padding == Padding::Torch ? " torch" : " tf_same");
}

// Calls body(problem) for every side, stride, padding and batch size, with these channels.
template <class Body>
void for_each_problem(const std::vector<Index>& channels, Body&& body) {
  for (Index h : kSides)
    for (Index w : kSides)
      for (Index c : channels)
        for (Index stride : {1, 2})
          for (Padding padding : {Padding::Torch, Padding::TfSame})
            for (Index n : {1, 3}) body(DepthwiseProblem::make({n, h, w, c}, stride, padding));
}

template <class T>
Values<T> forward(const Context& ctx, const DepthwiseProblem& p, const Values<T>& x,
                  const Values<T>& w, const Epilogue<T>& epilogue = {}) {
  Guarded<T> y(p.output().count());
  cpu::depthwise_forward(ctx, p, x.data(), w.data(), epilogue, y.data());
  return y.checked();
}

template <class T>
Values<T> backward_data(const Context& ctx, const DepthwiseProblem& p, const Values<T>& dy,
                        const Values<T>& w) {
  Guarded<T> dx(p.input().count());
  cpu::depthwise_backward_data(ctx, p, dy.data(), w.data(), Write::Overwrite, dx.data());
  return dx.checked();
}

template <class T>
Values<T> backward_weight(const Context& ctx, const DepthwiseProblem& p, const Values<T>& x,
                          const Values<T>& dy) {
  Guarded<T> scratch(cpu::depthwise_weight_scratch(p));
  Guarded<T> dw(9 * p.c);
  cpu::depthwise_backward_weight(ctx, p, x.data(), dy.data(), scratch.data(), Write::Overwrite,
                                 dw.data());
  scratch.checked();
  return dw.checked();
}

// The header's formula on an image that is really padded with zeros, one output at a time.
template <class T>
Values<T> formula(const DepthwiseProblem& p, const Values<T>& x, const Values<T>& w) {
  const Index padded_h = p.h + 4, padded_w = p.w + 4;
  Values<T> padded(size_of(p.n * padded_h * padded_w * p.c), T(0));
  const auto at = [&](Index n, Index i, Index j, Index c) {
    return size_of(((n * padded_h + i) * padded_w + j) * p.c + c);
  };
  std::size_t next = 0;
  for (Index n = 0; n < p.n; ++n)
    for (Index i = 0; i < p.h; ++i)
      for (Index j = 0; j < p.w; ++j)
        for (Index c = 0; c < p.c; ++c)
          padded[at(n, i + p.before_h, j + p.before_w, c)] = x[next++];
  Values<T> y;
  for (Index n = 0; n < p.n; ++n)
    for (Index i = 0; i < p.p; ++i)
      for (Index j = 0; j < p.q; ++j)
        for (Index c = 0; c < p.c; ++c) {
          T sum = 0;
          for (Index r = 0; r < 3; ++r)
            for (Index s = 0; s < 3; ++s)
              sum += padded[at(n, i * p.stride + r, j * p.stride + s, c)] *
                     w[size_of((r * 3 + s) * p.c + c)];
          y.push_back(sum);
        }
  return y;
}

TEST(DepthwiseConv, GeometryMatchesHandComputedCases) {
  const auto geometry = [](Index side, Index stride, Padding padding) {
    const DepthwiseProblem p = DepthwiseProblem::make({1, side, side + 2, 8}, stride, padding);
    EXPECT_EQ(p.before_h, p.before_w);
    return std::tuple(p.p, p.q, p.before_h);
  };
  using G = std::tuple<Index, Index, Index>;
  EXPECT_EQ(geometry(8, 1, Padding::Torch), G(8, 10, 1));
  EXPECT_EQ(geometry(8, 1, Padding::TfSame), G(8, 10, 1));
  EXPECT_EQ(geometry(8, 2, Padding::Torch), G(4, 5, 1));
  EXPECT_EQ(geometry(7, 2, Padding::Torch), G(4, 5, 1));
  EXPECT_EQ(geometry(8, 2, Padding::TfSame), G(4, 5, 0));
  EXPECT_EQ(geometry(7, 2, Padding::TfSame), G(4, 5, 1));
  EXPECT_EQ(geometry(1, 2, Padding::TfSame), G(1, 2, 1));
}

// x = 1..4 in a row, taps 10, 20, 30 in the middle window row: by hand from TensorFlow's rule.
TEST(DepthwiseConv, TfSamePadsAnEvenInputOnlyBehind) {
  ThreadPool pool(1);
  const Values<float> w{0, 0, 0, 10, 20, 30, 0, 0, 0};
  const auto run = [&](Index width, Padding padding) {
    const DepthwiseProblem p = DepthwiseProblem::make({1, 1, width, 1}, 2, padding);
    Values<float> x{1, 2, 3, 4, 5};
    return forward<float>({pool}, p, x, w);
  };
  EXPECT_EQ(run(4, Padding::TfSame), (Values<float>{140, 110}));
  EXPECT_EQ(run(4, Padding::Torch), (Values<float>{80, 200}));
  EXPECT_EQ(run(5, Padding::TfSame), (Values<float>{80, 200, 140}));
}

TEST(DepthwiseConv, RejectsShapesThatMakeNoSense) {
  const auto make = [](const Shape& x, Index stride) {
    DepthwiseProblem::make(x, stride, Padding::Torch);
  };
  EXPECT_THROW(make({0, 4, 4, 8}, 1), ShapeError);
  EXPECT_THROW(make({1, 0, 4, 8}, 1), ShapeError);
  EXPECT_THROW(make({1, 4, -4, 8}, 1), ShapeError);
  EXPECT_THROW(make({1, 4, 4, 0}, 1), ShapeError);
  EXPECT_THROW(make({1, 4, 4, 8}, 0), ShapeError);
  EXPECT_THROW(make({1, 4, 4, 8}, 3), ShapeError);
}

TEST(DepthwiseConv, DoubleMatchesTheFormula) {
  ThreadPool pool(1);
  for_each_problem({1, 3}, [&](const DepthwiseProblem& p) {
    const auto x = small_integers<double>(p.input().count(), 1);
    const auto w = small_integers<double>(9 * p.c, 2);
    ASSERT_EQ(forward<double>({pool}, p, x, w), formula(p, x, w)) << describe(p);
  });
}

// <dy, conv(x, w)> = <dx, x> = <dw, w>, exact on small integers.
TEST(DepthwiseConv, DoubleGradientsAreAdjoint) {
  ThreadPool pool(1);
  for_each_problem({1, 3}, [&](const DepthwiseProblem& p) {
    const auto x = small_integers<double>(p.input().count(), 3);
    const auto w = small_integers<double>(9 * p.c, 4);
    const auto dy = small_integers<double>(p.output().count(), 5);
    const double product = dot(dy, formula(p, x, w));
    ASSERT_EQ(dot(backward_data<double>({pool}, p, dy, w), x), product) << describe(p);
    ASSERT_EQ(dot(backward_weight<double>({pool}, p, x, dy), w), product) << describe(p);
  });
}

TEST(DepthwiseConv, FloatMatchesDouble) {
  ThreadPool pool(1);
  const Context ctx{pool};
  for_each_problem({1, 3, 8, 16, 24, 33, 96}, [&](const DepthwiseProblem& p) {
    const auto x = random_values<float>(p.input().count(), 6);
    const auto w = random_values<float>(9 * p.c, 7);
    const auto dy = random_values<float>(p.output().count(), 8);
    const auto x2 = widened(x), w2 = widened(w), dy2 = widened(dy);
    const auto x_abs = absolute(x), w_abs = absolute(w), dy_abs = absolute(dy);
    const auto y = forward(ctx, p, x2, w2), y_abs = forward(ctx, p, x_abs, w_abs);
    const auto dx = backward_data(ctx, p, dy2, w2), dx_abs = backward_data(ctx, p, dy_abs, w_abs);
    const auto dw = backward_weight(ctx, p, x2, dy2),
               dw_abs = backward_weight(ctx, p, x_abs, dy_abs);
    const double pixels = static_cast<double>(p.output().rows());
    for_each_isa([&](const std::string& isa) {
      const std::string what = isa + " " + describe(p);
      expect_close(forward(ctx, p, x, w), y, 9, y_abs, what + " y");
      expect_close(backward_data(ctx, p, dy, w), dx, 9, dx_abs, what + " dx");
      expect_close(backward_weight(ctx, p, x, dy), dw, pixels, dw_abs, what + " dw");
    });
  });
}

TEST(DepthwiseConv, FloatIsExactOnSmallIntegers) {
  ThreadPool pool(1);
  const Context ctx{pool};
  for_each_problem({33}, [&](const DepthwiseProblem& p) {
    const auto x = small_integers<float>(p.input().count(), 9);
    const auto w = small_integers<float>(9 * p.c, 10);
    const auto dy = small_integers<float>(p.output().count(), 11);
    const auto dx = backward_data(ctx, p, widened(dy), widened(w));
    const auto dw = backward_weight(ctx, p, widened(x), widened(dy));
    for_each_isa([&](const std::string& isa) {
      const std::string what = isa + " " + describe(p);
      ASSERT_EQ(forward(ctx, p, x, w), formula(p, x, w)) << what;
      ASSERT_EQ(widened(backward_data(ctx, p, dy, w)), dx) << what;
      ASSERT_EQ(widened(backward_weight(ctx, p, x, dy)), dw) << what;
    });
  });
}

template <class T>
void check_epilogue(const Context& ctx, const DepthwiseProblem& p, const std::string& what) {
  const auto x = small_integers<T>(p.input().count(), 12);
  const auto w = small_integers<T>(9 * p.c, 13);
  const auto bias = small_integers<T>(p.c, 14);
  const auto residual = small_integers<T>(p.output().count(), 15);
  const auto plain = formula(p, x, w);
  for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
    Values<T> expected(plain.size()), y = residual;
    for (std::size_t i = 0; i < plain.size(); ++i) {
      T v = plain[i] + bias[i % size_of(p.c)];
      if (activation != Activation::None) v = std::max(v, T(0));
      if (activation == Activation::Relu6) v = std::min(v, T(6));
      expected[i] = v;
    }
    ASSERT_EQ(forward(ctx, p, x, w, {bias.data(), activation, nullptr}), expected) << what;
    for (std::size_t i = 0; i < plain.size(); ++i) expected[i] += residual[i];
    cpu::depthwise_forward(ctx, p, x.data(), w.data(), {bias.data(), activation, y.data()},
                           y.data());
    ASSERT_EQ(y, expected) << what << ", residual in place";
  }
}

TEST(DepthwiseConv, EpilogueAppliesBiasActivationThenResidual) {
  ThreadPool pool(1);
  for (Index stride : {1, 2}) {
    const DepthwiseProblem p = DepthwiseProblem::make({2, 9, 19, 33}, stride, Padding::Torch);
    check_epilogue<double>({pool}, p, "double");
    for_each_isa([&](const std::string& isa) { check_epilogue<float>({pool}, p, isa); });
  }
}

template <class T>
void check_accumulate(const Context& ctx, const DepthwiseProblem& p, const std::string& what) {
  const auto x = small_integers<T>(p.input().count(), 16);
  const auto w = small_integers<T>(9 * p.c, 17);
  const auto dy = small_integers<T>(p.output().count(), 18);
  Values<T> dx = x, dw = w;
  Guarded<T> scratch(cpu::depthwise_weight_scratch(p));
  cpu::depthwise_backward_data(ctx, p, dy.data(), w.data(), Write::Accumulate, dx.data());
  cpu::depthwise_backward_weight(ctx, p, x.data(), dy.data(), scratch.data(), Write::Accumulate,
                                 dw.data());
  auto dx_expected = backward_data(ctx, p, dy, w);
  auto dw_expected = backward_weight(ctx, p, x, dy);
  for (std::size_t i = 0; i < x.size(); ++i) dx_expected[i] += x[i];
  for (std::size_t i = 0; i < w.size(); ++i) dw_expected[i] += w[i];
  EXPECT_EQ(dx, dx_expected) << what;
  EXPECT_EQ(dw, dw_expected) << what;
}

TEST(DepthwiseConv, AccumulateAddsToWhatIsThere) {
  ThreadPool pool(1);
  for (Index stride : {1, 2}) {
    const DepthwiseProblem p = DepthwiseProblem::make({2, 9, 19, 33}, stride, Padding::Torch);
    check_accumulate<double>({pool}, p, "double");
    for_each_isa([&](const std::string& isa) { check_accumulate<float>({pool}, p, isa); });
  }
}

template <class T>
void check_threads(const DepthwiseProblem& p) {
  const auto x = random_values<T>(p.input().count(), 19);
  const auto w = random_values<T>(9 * p.c, 20);
  const auto dy = random_values<T>(p.output().count(), 21);
  ThreadPool one(1);
  const auto y = forward<T>({one}, p, x, w);
  const auto dx = backward_data<T>({one}, p, dy, w);
  const auto dw = backward_weight<T>({one}, p, x, dy);
  for (int threads : {2, 3}) {
    ThreadPool pool(threads);
    EXPECT_EQ(forward<T>({pool}, p, x, w), y) << threads << " threads, " << describe(p);
    EXPECT_EQ(backward_data<T>({pool}, p, dy, w), dx) << threads << " threads, " << describe(p);
    EXPECT_EQ(backward_weight<T>({pool}, p, x, dy), dw) << threads << " threads, " << describe(p);
  }
}

TEST(DepthwiseConv, ThreadCountDoesNotChangeABit) {
  for (Index stride : {1, 2}) {
    const DepthwiseProblem p = DepthwiseProblem::make({3, 28, 28, 40}, stride, Padding::TfSame);
    check_threads<float>(p);
    check_threads<double>(p);
  }
}

}  // namespace
}  // namespace dfengine::test
