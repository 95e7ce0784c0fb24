// An expansion, its batch norm and the depthwise convolution behind it in double, one after the
// other, and the gradients of all of them.
#pragma once

#include <cmath>

#include "kernels/activation_function.h"
#include "kernels/expand_depthwise.h"
#include "tests/kernels/kernel_data.h"

namespace dfengine::test {

// What the operation reads. Of a stem x are the windows of the pixels, and w has the weights of
// windows.
struct ExpandDepthwiseData {
  Doubles x, w, taps, gamma, beta, dy;
  std::vector<std::uint8_t> pixels = {};
};

// What is normalised with these: batch statistics, or whole numbers for exact tests.
struct ExpandedNorm {
  Doubles scale, shift, rstd, mean;
};

struct ExpandDepthwiseGradients {
  Doubles g;               // behind the activation
  Doubles products, sums;  // R [wide, in] and s [wide]
  Doubles projected;       // (a g) w
  Doubles dw, dgamma, dbeta, dtaps, dx;
};

class ExpandDepthwiseReference {
 public:
  explicit ExpandDepthwiseReference(const ExpandDepthwiseProblem& problem) : p(problem) {}

  Doubles expanded(const ExpandDepthwiseData& d) const {
    Doubles e(at(p.rows() * p.wide()), 0.0);
    for_each_weight([&](std::size_t row, std::size_t k, std::size_t c) {
      e[row * wide() + k] += d.x[row * in() + c] * d.w[k * in() + c];
    });
    return e;
  }

  ExpandedNorm batch_norm(const ExpandDepthwiseData& d, const Doubles& e) const {
    const auto rows = static_cast<double>(p.rows());
    ExpandedNorm n{Doubles(wide()), Doubles(wide()), Doubles(wide()), Doubles(wide(), 0.0)};
    Doubles variance(wide(), 0.0);
    for (std::size_t i = 0; i < e.size(); ++i) n.mean[i % wide()] += e[i] / rows;
    for (std::size_t i = 0; i < e.size(); ++i)
      variance[i % wide()] += std::pow(e[i] - n.mean[i % wide()], 2) / rows;
    for (std::size_t k = 0; k < wide(); ++k) {
      n.rstd[k] = 1 / std::sqrt(variance[k] + p.eps);
      n.scale[k] = d.gamma[k] * n.rstd[k];
      n.shift[k] = d.beta[k] - n.mean[k] * n.scale[k];
    }
    return n;
  }

  Doubles activated(const Doubles& e, const ExpandedNorm& n) const {
    Doubles v(e.size());
    for (std::size_t i = 0; i < e.size(); ++i)
      v[i] = activate(p.activation, e[i] * n.scale[i % wide()] + n.shift[i % wide()]);
    return v;
  }

  Doubles normalised(const Doubles& e, const ExpandedNorm& n) const {
    Doubles hat(e.size());
    for (std::size_t i = 0; i < e.size(); ++i)
      hat[i] = (e[i] - n.mean[i % wide()]) * n.rstd[i % wide()];
    return hat;
  }

  Doubles filtered(const Doubles& v, const Doubles& taps) const {
    Doubles y(at(p.depthwise.output().count()), 0.0);
    for_each_tap(
        [&](std::size_t out, std::size_t from, std::size_t tap) { y[out] += v[from] * taps[tap]; });
    return y;
  }

  // [wide, in] of g [rows, wide] and x [rows, in]; [rows, in] of g and w.
  Doubles products(const Doubles& g, const Doubles& x) const {
    Doubles to(wide() * in(), 0.0);
    for_each_weight([&](std::size_t row, std::size_t k, std::size_t c) {
      to[k * in() + c] += g[row * wide() + k] * x[row * in() + c];
    });
    return to;
  }
  Doubles projected(const Doubles& g, const Doubles& scale, const Doubles& w) const {
    Doubles to(at(p.rows()) * in(), 0.0);
    for_each_weight([&](std::size_t row, std::size_t k, std::size_t c) {
      to[row * in() + c] += scale[k] * g[row * wide() + k] * w[k * in() + c];
    });
    return to;
  }
  Doubles tap_gradients(const Doubles& dy, const Doubles& v) const {
    Doubles to(9 * wide(), 0.0);
    for_each_tap(
        [&](std::size_t out, std::size_t from, std::size_t tap) { to[tap] += dy[out] * v[from]; });
    return to;
  }
  Doubles channel_sums(const Doubles& values) const {
    Doubles to(wide(), 0.0);
    for (std::size_t i = 0; i < values.size(); ++i) to[i % wide()] += values[i];
    return to;
  }

  // Up to what the pass over y's gradient gives. stored: rounds g as a kernel stores it.
  template <class Round>
  ExpandDepthwiseGradients narrow(const ExpandDepthwiseData& d, const Doubles& e,
                                  const ExpandedNorm& n, const Round& stored) const {
    ExpandDepthwiseGradients to;
    to.g.assign(e.size(), 0.0);
    for_each_tap([&](std::size_t out, std::size_t from, std::size_t tap) {
      to.g[from] += d.dy[out] * d.taps[tap];
    });
    for (std::size_t i = 0; i < e.size(); ++i) {
      const std::size_t k = i % wide();
      if (!passes_gradient(p.activation, e[i] * n.scale[k] + n.shift[k])) to.g[i] = 0;
      to.g[i] = stored(to.g[i]);
    }
    to.dtaps = tap_gradients(d.dy, activated(e, n));
    to.sums = channel_sums(to.g);
    to.products = products(to.g, d.x);
    to.projected = projected(to.g, n.scale, d.w);
    return to;
  }

  // All of them, with the batch norm's gradient by its own formula (kernels/batch_norm.h).
  ExpandDepthwiseGradients gradients(const ExpandDepthwiseData& d) const {
    const Doubles e = expanded(d);
    const ExpandedNorm n = batch_norm(d, e);
    ExpandDepthwiseGradients to = narrow(d, e, n, [](double g) { return g; });
    const auto rows = static_cast<double>(p.rows());
    to.dbeta = to.sums;
    const Doubles hat = normalised(e, n);
    Doubles g_hat(e.size());
    for (std::size_t i = 0; i < e.size(); ++i) g_hat[i] = to.g[i] * hat[i];
    to.dgamma = channel_sums(g_hat);
    to.dw.assign(d.w.size(), 0.0);
    to.dx.assign(d.x.size(), 0.0);
    for_each_weight([&](std::size_t row, std::size_t k, std::size_t c) {
      const std::size_t i = row * wide() + k;
      const double de = n.scale[k] * (to.g[i] - to.dbeta[k] / rows - hat[i] * to.dgamma[k] / rows);
      to.dw[k * in() + c] += de * d.x[row * in() + c];
      to.dx[row * in() + c] += de * d.w[k * in() + c];
    });
    return to;
  }

  ExpandDepthwiseProblem p;

 private:
  std::size_t in() const { return at(p.in); }
  std::size_t wide() const { return at(p.wide()); }

  template <class F>
  void for_each_weight(const F& f) const {
    for (std::size_t row = 0; row < at(p.rows()); ++row)
      for (std::size_t k = 0; k < wide(); ++k)
        for (std::size_t c = 0; c < in(); ++c) f(row, k, c);
  }

  template <class F>
  void for_each_tap(const F& f) const {
    const DepthwiseProblem& d = p.depthwise;
    for (Index i = 0; i < d.output().count(); ++i) {
      const Index c = i % d.c, q = i / d.c % d.q, row = i / d.c / d.q % d.p,
                  n = i / d.c / d.q / d.p;
      for (Index tap = 0; tap < 9; ++tap) {
        const Index h = row * d.stride + tap / 3 - d.before_h;
        const Index w = q * d.stride + tap % 3 - d.before_w;
        if (h < 0 || h >= d.h || w < 0 || w >= d.w) continue;
        f(at(i), at(((n * d.h + h) * d.w + w) * d.c + c), at(tap * d.c + c));
      }
    }
  }
};

}  // namespace dfengine::test
