// Pointwise convolution: double against plain loops, float against double on every instruction set,
// every tail, any number of threads.
#include "kernels/pointwise_conv.h"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/error.h"
#include "tests/support/random_data.h"
#include "tests/support/tolerance.h"

namespace dfengine::cpu {
namespace {

using test::converted;
using test::random_integers;
using test::random_uniform;

template <class T>
using Values = std::vector<T>;

std::size_t to_size(Index count) {
  return static_cast<std::size_t>(count);
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::Baseline, Isa::Avx2, Isa::Avx512})
    if (isa_supported(isa)) isas.push_back(isa);
  return isas;
}

// Runs the rest of a scope on one instruction set.
class UseIsa {
 public:
  explicit UseIsa(Isa isa) : before_(current_isa()) { set_isa(isa); }
  ~UseIsa() { set_isa(before_); }
  UseIsa(const UseIsa&) = delete;
  UseIsa& operator=(const UseIsa&) = delete;

 private:
  Isa before_;
};

template <class T>
struct Inputs {
  Values<T> x, w, dy, bias, y, dx, dw;  // y, dx, dw: what the buffers hold before
};

Inputs<float> random_inputs(const PointwiseProblem& p) {
  return {random_uniform<float>(p.m * p.c, 1), random_uniform<float>(p.k * p.c, 2),
          random_uniform<float>(p.m * p.k, 3), random_uniform<float>(p.k, 4),
          random_uniform<float>(p.m * p.k, 5), random_uniform<float>(p.m * p.c, 6),
          random_uniform<float>(p.k * p.c, 7)};
}

Inputs<float> integer_inputs(const PointwiseProblem& p) {
  return {random_integers<float>(p.m * p.c, 1), random_integers<float>(p.k * p.c, 2),
          random_integers<float>(p.m * p.k, 3), random_integers<float>(p.k, 4),
          random_integers<float>(p.m * p.k, 5), random_integers<float>(p.m * p.c, 6),
          random_integers<float>(p.k * p.c, 7)};
}

Inputs<double> in_double(const Inputs<float>& f) {
  return {converted<double>(f.x),    converted<double>(f.w), converted<double>(f.dy),
          converted<double>(f.bias), converted<double>(f.y), converted<double>(f.dx),
          converted<double>(f.dw)};
}

template <class T>
struct Outputs {
  Values<T> y, dx, dw;
};

struct Options {
  Activation activation = Activation::None;
  bool bias = false;
  bool residual = false;  // y itself
  Write write = Write::Overwrite;
};

// All three kernels.
template <class T>
Outputs<T> run(const PointwiseProblem& p, const Inputs<T>& in, const Options& options,
               int threads = 1) {
  ThreadPool pool(threads);
  const Context ctx{pool};
  Outputs<T> out{in.y, in.dx, in.dw};
  Values<T> packed(to_size(pointwise_packed_count(p)));
  pointwise_pack(p, in.w.data(), packed.data());
  const Epilogue<T> epilogue{.bias = options.bias ? in.bias.data() : nullptr,
                             .activation = options.activation,
                             .residual = options.residual ? out.y.data() : nullptr};
  pointwise_forward(ctx, p, in.x.data(), packed.data(), epilogue, out.y.data());
  pointwise_pack_transposed(p, in.w.data(), packed.data());
  pointwise_backward_data(ctx, p, in.dy.data(), packed.data(), options.write, out.dx.data());
  Values<T> scratch(to_size(pointwise_weight_scratch(p)), std::numeric_limits<T>::quiet_NaN());
  pointwise_backward_weight(ctx, p, in.x.data(), in.dy.data(), scratch.data(), options.write,
                            out.dw.data());
  return out;
}

// Every value is a sum of `terms` products of numbers in [-1, 1], plus bias and residual.
void expect_near(const Values<float>& got, const Values<double>& want, Index terms,
                 const char* what) {
  const double n = static_cast<double>(terms + 2);
  const double allowed = test::tolerance<float>(n, n);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(static_cast<double>(got[i]), want[i], allowed) << what << " at " << i;
}

void expect_equal(const Values<float>& got, const Values<double>& want, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(static_cast<double>(got[i]), want[i]) << what << " at " << i;
}

std::vector<PointwiseProblem> tail_problems() {
  std::vector<PointwiseProblem> problems;
  for (Index m : {1, 2, 7, 11, 12, 13, 49, 65})
    for (Index c : {1, 3, 8, 16, 24, 33, 96})
      for (Index k : {1, 8, 16, 17, 24, 33, 48, 100})
        problems.push_back(PointwiseProblem::make(m, c, k));
  return problems;
}

// Large enough for several blocks, slices and rectangles of dw.
const PointwiseProblem kBlocked[] = {
    PointwiseProblem::make(2103, 40, 33), PointwiseProblem::make(1101, 200, 24),
    PointwiseProblem::make(150, 100, 400), PointwiseProblem::make(70, 1283, 10)};

TEST(PointwiseConv, RefusesSizesBelowOne) {
  EXPECT_THROW(PointwiseProblem::make(0, 1, 1), ShapeError);
  EXPECT_THROW(PointwiseProblem::make(1, 0, 1), ShapeError);
  EXPECT_THROW(PointwiseProblem::make(1, 1, -3), ShapeError);
  EXPECT_EQ(PointwiseProblem::make(2, 3, 5).flops(), 60);
}

// The double kernels against the three sums written out, on whole numbers: exact.
TEST(PointwiseConv, DoubleEqualsTheDefinition) {
  for (const auto& [m, c, k] :
       {PointwiseProblem::make(131, 7, 5), PointwiseProblem::make(3, 140, 130)}) {
    const PointwiseProblem p = PointwiseProblem::make(m, c, k);
    const Inputs<double> in = in_double(integer_inputs(p));
    const Outputs<double> out = run(p, in, {Activation::Relu6, true, true, Write::Accumulate}, 2);
    Outputs<double> want{in.y, in.dx, in.dw};
    for (Index i = 0; i < m; ++i) {
      for (Index o = 0; o < k; ++o) {
        double sum = in.bias[to_size(o)];
        for (Index j = 0; j < c; ++j) {
          const std::size_t xi = to_size(i * c + j), wi = to_size(o * c + j);
          sum += in.x[xi] * in.w[wi];
          want.dx[xi] += in.dy[to_size(i * k + o)] * in.w[wi];
          want.dw[wi] += in.dy[to_size(i * k + o)] * in.x[xi];
        }
        want.y[to_size(i * k + o)] += std::fmin(std::fmax(sum, 0.0), 6.0);
      }
    }
    EXPECT_EQ(out.y, want.y);
    EXPECT_EQ(out.dx, want.dx);
    EXPECT_EQ(out.dw, want.dw);
  }
}

TEST(PointwiseConv, FloatEqualsDoubleForEveryTail) {
  for (const PointwiseProblem& p : tail_problems()) {
    const Inputs<float> in = random_inputs(p);
    const Options options{Activation::None, true, false, Write::Overwrite};
    const Outputs<double> want = run(p, in_double(in), options);
    for (Isa isa : supported_isas()) {
      SCOPED_TRACE(testing::Message()
                   << isa_name(isa) << " m " << p.m << " c " << p.c << " k " << p.k);
      const UseIsa use(isa);
      const Outputs<float> got = run(p, in, options);
      expect_near(got.y, want.y, p.c, "y");
      expect_near(got.dx, want.dx, p.k, "dx");
      expect_near(got.dw, want.dw, p.m, "dw");
      if (HasFatalFailure()) return;
    }
  }
}

TEST(PointwiseConv, FloatIsExactOnWholeNumbers) {
  std::vector<PointwiseProblem> problems = {PointwiseProblem::make(49, 33, 100),
                                            PointwiseProblem::make(13, 24, 17),
                                            PointwiseProblem::make(65, 96, 1)};
  problems.insert(problems.end(), std::begin(kBlocked), std::end(kBlocked));
  for (const PointwiseProblem& p : problems) {
    const Inputs<float> in = integer_inputs(p);
    for (Write write : {Write::Overwrite, Write::Accumulate}) {
      const Options options{Activation::None, true, write == Write::Accumulate, write};
      const Outputs<double> want = run(p, in_double(in), options);
      for (Isa isa : supported_isas()) {
        SCOPED_TRACE(testing::Message()
                     << isa_name(isa) << " m " << p.m << " c " << p.c << " k " << p.k);
        const UseIsa use(isa);
        const Outputs<float> got = run(p, in, options, 2);
        expect_equal(got.y, want.y, "y");
        expect_equal(got.dx, want.dx, "dx");
        expect_equal(got.dw, want.dw, "dw");
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(PointwiseConv, EpiloguesInFloatEqualDouble) {
  for (const PointwiseProblem& p :
       {PointwiseProblem::make(13, 24, 33), PointwiseProblem::make(50, 33, 64)}) {
    const Inputs<float> in = integer_inputs(p);
    for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
      for (int terms = 0; terms < 4; ++terms) {
        const Options options{activation, (terms & 1) != 0, (terms & 2) != 0, Write::Overwrite};
        const Outputs<double> want = run(p, in_double(in), options);
        for (Isa isa : supported_isas()) {
          SCOPED_TRACE(testing::Message() << isa_name(isa) << " activation "
                                          << static_cast<int>(activation) << " terms " << terms);
          const UseIsa use(isa);
          expect_equal(run(p, in, options).y, want.y, "y");
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// A network that went wrong must show it: NaN is not clamped away.
TEST(PointwiseConv, NanPassesThroughEveryActivation) {
  const PointwiseProblem p = PointwiseProblem::make(3, 5, 9);
  Inputs<float> in = random_inputs(p);
  in.x[7] = std::numeric_limits<float>::quiet_NaN();  // row 1
  for (Isa isa : supported_isas()) {
    const UseIsa use(isa);
    for (Activation activation : {Activation::None, Activation::Relu, Activation::Relu6}) {
      const Values<float> y = run(p, in, {.activation = activation}).y;
      for (Index i = 0; i < p.m; ++i)
        for (Index j = 0; j < p.k; ++j)
          EXPECT_EQ(std::isnan(y[to_size(i * p.k + j)]), i == 1) << isa_name(isa);
    }
  }
}

TEST(PointwiseConv, ThreadCountDoesNotChangeABit) {
  for (const PointwiseProblem& p : kBlocked) {
    const Inputs<float> in = random_inputs(p);
    const Options options{Activation::Relu6, true, true, Write::Accumulate};
    for (Isa isa : supported_isas()) {
      const UseIsa use(isa);
      const Outputs<float> one = run(p, in, options, 1);
      for (int threads : {2, 3}) {
        const Outputs<float> more = run(p, in, options, threads);
        EXPECT_EQ(one.y, more.y) << isa_name(isa) << ", " << threads << " threads";
        EXPECT_EQ(one.dx, more.dx) << isa_name(isa) << ", " << threads << " threads";
        EXPECT_EQ(one.dw, more.dw) << isa_name(isa) << ", " << threads << " threads";
      }
    }
  }
}

// Weights may be packed once and used after another instruction set was chosen.
TEST(PointwiseConv, PackedWeightsServeEveryInstructionSet) {
  const PointwiseProblem p = PointwiseProblem::make(17, 19, 83);
  const Inputs<float> in = integer_inputs(p);
  Values<float> packed(to_size(pointwise_packed_count(p)));
  pointwise_pack(p, in.w.data(), packed.data());
  const Values<double> want = run(p, in_double(in), {}).y;
  ThreadPool pool(1);
  for (Isa isa : supported_isas()) {
    const UseIsa use(isa);
    Values<float> y(to_size(p.m * p.k));
    pointwise_forward<float>({pool}, p, in.x.data(), packed.data(), {}, y.data());
    expect_equal(y, want, isa_name(isa));
  }
}

// Nothing outside the buffers is touched: the sanitizer presets check reads, this checks writes.
TEST(PointwiseConv, WritesStayInsideTheOutput) {
  const PointwiseProblem p = PointwiseProblem::make(13, 10, 21);
  const Inputs<float> in = random_inputs(p);
  Values<float> packed(to_size(pointwise_packed_count(p)) + 1, -7.0f);
  ThreadPool pool(1);
  for (Isa isa : supported_isas()) {
    const UseIsa use(isa);
    pointwise_pack(p, in.w.data(), packed.data());
    EXPECT_EQ(packed.back(), -7.0f);
    Values<float> y(to_size(p.m * p.k) + 2, -7.0f);
    pointwise_forward<float>({pool}, p, in.x.data(), packed.data(), {}, y.data() + 1);
    EXPECT_EQ(y.front(), -7.0f) << isa_name(isa);
    EXPECT_EQ(y.back(), -7.0f) << isa_name(isa);
  }
}

}  // namespace
}  // namespace dfengine::cpu
