// One convolution problem with data, run on any target or by its formula. The operations that these
// functions are templates over stand in convolutions.h.
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/epilogue.h"
#include "tests/support/random_data.h"
#include "tests/support/targets.h"

namespace dfengine::test {

// Elements, and the terms of the sums that an element of y and dx is.
struct ConvSizes {
  Index x, w, y, channels;
  Index y_terms, dx_terms;
};

// y, dx: what the outputs hold before.
struct ConvData {
  Doubles x, w, dy, bias, y, dx;
};

struct ConvResults {
  Doubles y, dx, dw;
  bool operator==(const ConvResults&) const = default;
};

struct ConvOptions {
  Activation activation = Activation::None;
  bool bias = false;
  bool residual = false;  // y itself
  Write write = Write::Overwrite;
};
inline constexpr ConvOptions kEverything = {Activation::Relu6, true, true, Write::Accumulate};

// Small whole numbers: every target's sums are exact, so that any wrong index shows.
inline ConvData integer_data(const ConvSizes& n) {
  const auto make = [](Index count, std::uint64_t seed) {
    return random_integers<double>(count, seed);
  };
  return {make(n.x, 1),        make(n.w, 2), make(n.y, 3),
          make(n.channels, 4), make(n.y, 5), make(n.x, 6)};
}

// Numbers in [-1, 1) as the target holds them.
template <class Target>
ConvData random_data(const ConvSizes& n) {
  const auto value = [](Index count, std::uint64_t seed) {
    return as_stored<typename Target::Value>(random_uniform<double>(count, seed));
  };
  const auto sum = [](Index count, std::uint64_t seed) {
    return as_stored<typename Target::Sum>(random_uniform<double>(count, seed));
  };
  return {value(n.x, 1),      value(n.w, 2), value(n.y, 3),
          sum(n.channels, 4), value(n.y, 5), value(n.x, 6)};
}

inline ConvData absolutes(ConvData d) {
  for (Doubles* values : {&d.x, &d.w, &d.dy, &d.bias, &d.y, &d.dx})
    for (double& v : *values) v = std::abs(v);
  return d;
}

// A NaN passes, as it must through every kernel.
inline double activated(Activation activation, double v) {
  if (activation != Activation::None && v < 0) return 0;
  return activation == Activation::Relu6 && v > 6 ? 6 : v;
}

// The header's formula in double, product by product.
template <class Op>
ConvResults formula(const Op& op, const ConvData& d, const ConvOptions& o) {
  ConvResults out{Doubles(d.y.size(), 0.0),
                  o.write == Write::Accumulate ? d.dx : Doubles(d.dx.size(), 0.0),
                  Doubles(d.w.size(), 0.0)};
  if (!Op::kHasDataGradient) out.dx.clear();
  op.for_each_product([&](Index y_at, Index x_at, Index w_at) {
    const auto y = at(y_at), x = at(x_at), w = at(w_at);
    out.y[y] += d.x[x] * d.w[w];
    if (Op::kHasDataGradient) out.dx[x] += d.dy[y] * d.w[w];
    out.dw[w] += d.dy[y] * d.x[x];
  });
  for (std::size_t i = 0; i < out.y.size(); ++i) {
    if (o.bias) out.y[i] += d.bias[i % d.bias.size()];
    out.y[i] = activated(o.activation, out.y[i]) + (o.residual ? d.y[i] : 0);
  }
  return out;
}

// All kernels of the operation.
template <class Target, class Op>
ConvResults run(const Target& target, const Op& op, const ConvData& d, const ConvOptions& o) {
  const auto before = [](bool wanted, const Doubles& v) {
    return wanted ? v : Doubles(v.size(), std::numeric_limits<double>::quiet_NaN());
  };
  const bool add = o.write == Write::Accumulate;
  ValuesOn<Target> x(d.x), w(d.w), dy(d.dy), y(before(o.residual, d.y)), dx(before(add, d.dx));
  SumsOn<Target> bias(d.bias), dw(static_cast<Index>(d.w.size())), scratch(op.scratch(target));
  op.forward(target, x.data(), w.data(),
             {o.bias ? bias.data() : nullptr, o.activation, o.residual ? y.data() : nullptr},
             y.data());
  op.backward_weight(target, x.data(), dy.data(), scratch.data(), dw.data());
  scratch.values();
  if constexpr (Op::kHasDataGradient) {
    op.backward_data(target, dy.data(), w.data(), o.write, dx.data());
    return {y.values(), dx.values(), dw.values()};
  } else {
    return {y.values(), {}, dw.values()};
  }
}

template <class Target>
void expect_exact(const ConvResults& got, const ConvResults& want) {
  ASSERT_EQ(got.y, as_stored<typename Target::Value>(want.y)) << "y";
  ASSERT_EQ(got.dx, as_stored<typename Target::Value>(want.dx)) << "dx";
  ASSERT_EQ(got.dw, as_stored<typename Target::Sum>(want.dw)) << "dw";
}

// The formula's results on random data and, as magnitudes, those on absolute values.
template <class Target>
struct ConvExpectation {
  ConvSizes sizes;
  ConvData data;
  ConvResults want, magnitude;

  template <class Op>
  ConvExpectation(const Op& op, const ConvOptions& o)
      : sizes(op.sizes()),
        data(random_data<Target>(sizes)),
        want(formula(op, data, o)),
        magnitude(formula(op, absolutes(data), linear(o))) {}

  // Two more terms: bias and residual, or what a gradient is added to.
  void expect_near(const ConvResults& got) const {
    const auto terms = [](Index n) { return static_cast<double>(n + 2); };
    expect_close<Target>(got.y, want.y, terms(sizes.y_terms), magnitude.y, "y");
    expect_close<Target>(got.dx, want.dx, terms(sizes.dx_terms), magnitude.dx, "dx");
    expect_close<Target, typename Target::Sum>(got.dw, want.dw, terms(sizes.y / sizes.channels),
                                               magnitude.dw, "dw");
  }

 private:
  static ConvOptions linear(ConvOptions o) {
    o.activation = Activation::None;
    return o;
  }
};

}  // namespace dfengine::test
