// Depthwise 3x3 convolution on the CPU: plain loops in double (the oracle), the vectorised rows of
// kernels/cpu/simd/ in float and bf16, and the split over threads shared by both.
#include "kernels/depthwise_conv.h"

#include <type_traits>
#include <vector>

#include "kernels/activation_function.h"
#include "kernels/cpu/row_split.h"
#include "kernels/cpu/simd/depthwise_conv.h"

namespace dfengine::cpu {
namespace {

constexpr Index kTaps = DepthwiseProblem::kTaps;

// Calls body(x offset, y offset, w offset) for every product of output rows [begin, end), counted
// over the batch. Offsets are those of channel 0.
template <class Body>
void for_products(const DepthwiseProblem& p, Index begin, Index end, Body&& body) {
  for (Index row = begin; row < end; ++row) {
    for (Index q = 0; q < p.q; ++q) {
      for (Index r = 0; r < 3; ++r) {
        for (Index s = 0; s < 3; ++s) {
          const Index i = row % p.p * p.stride + r - p.before_h;
          const Index j = q * p.stride + s - p.before_w;
          if (i < 0 || i >= p.h || j < 0 || j >= p.w) continue;
          body(((row / p.p * p.h + i) * p.w + j) * p.c, (row * p.q + q) * p.c, (r * 3 + s) * p.c);
        }
      }
    }
  }
}

void forward_rows(const DepthwiseProblem& p, const double* x, const double* w,
                  const Epilogue<double>& epilogue, Index begin, Index end, double* y) {
  const Index row_elements = p.q * p.c;
  // The residual may be y itself, so a row of sums is kept apart until it is complete.
  std::vector<double> sums(at(row_elements));
  for (Index row = begin; row < end; ++row) {
    for (Index i = 0; i < row_elements; ++i)
      sums[at(i)] = epilogue.bias ? epilogue.bias[i % p.c] : 0;
    const Index base = row * row_elements;
    for_products(p, row, row + 1, [&](Index xi, Index yi, Index wi) {
      double* sum = sums.data() + (yi - base);
      for (Index c = 0; c < p.c; ++c) sum[c] += x[xi + c] * w[wi + c];
    });
    for (Index i = 0; i < row_elements; ++i) {
      const double v = activate(epilogue.activation, sums[at(i)]);
      y[base + i] = epilogue.residual ? v + epilogue.residual[base + i] : v;
    }
  }
}

void backward_weight_rows(const DepthwiseProblem& p, const double* x, const double* dy, Index begin,
                          Index end, double* partial) {
  for_products(p, begin, end, [&](Index xi, Index yi, Index wi) {
    for (Index c = 0; c < p.c; ++c) partial[wi + c] += dy[yi + c] * x[xi + c];
  });
}

template <class T>
void forward_rows(const DepthwiseProblem& p, const T* x, const float* w,
                  const Epilogue<T>& epilogue, Index begin, Index end, T* y) {
  current_depthwise<T>().forward(p, x, w, epilogue, begin, end, y);
}

template <class T>
void backward_weight_rows(const DepthwiseProblem& p, const T* x, const T* dy, Index begin,
                          Index end, float* partial) {
  current_depthwise<T>().backward_weight(p, x, dy, begin, end, partial);
}

}  // namespace

template <class T>
void depthwise_forward(const Context& ctx, const DepthwiseProblem& p, const T* x, const SumOf<T>* w,
                       const Epilogue<T>& epilogue, T* y) {
  for_bands(ctx, p.n * p.p, p.q * p.c,
            [&](Index begin, Index end) { forward_rows(p, x, w, epilogue, begin, end, y); });
}

template <class T>
void depthwise_backward_data(const Context& ctx, const DepthwiseProblem& p, const T* dy,
                             const SumOf<T>* w, Write write, T* dx) {
  if constexpr (!std::is_same_v<T, double>) {
    for_bands(ctx, p.n * p.h, p.w * p.c, [&](Index begin, Index end) {
      current_depthwise<T>().backward_data(p, dy, w, write, begin, end, dx);
    });
  } else {
    // The oracle scatters, which needs whole images per task.
    parallel_for(ctx.pool, p.n, [&](Index n, int) {
      const Index image = p.h * p.w * p.c;
      if (write == Write::Overwrite) std::fill(dx + n * image, dx + (n + 1) * image, 0.0);
      for_products(p, n * p.p, (n + 1) * p.p, [&](Index xi, Index yi, Index wi) {
        for (Index c = 0; c < p.c; ++c) dx[xi + c] += dy[yi + c] * w[wi + c];
      });
    });
  }
}

Index depthwise_weight_scratch(const DepthwiseProblem& p) {
  return slice_count(p.n * p.p, p.q) * kTaps * p.c;
}

template <class T>
void depthwise_backward_weight(const Context& ctx, const DepthwiseProblem& p, const T* x,
                               const T* dy, SumOf<T>* scratch, SumOf<T>* dw) {
  const Index rows = p.n * p.p;
  sum_slices(ctx, rows, slice_count(rows, p.q), kTaps * p.c, scratch, dw,
             [&](Index begin, Index end, SumOf<T>* partial) {
               backward_weight_rows(p, x, dy, begin, end, partial);
             });
}

DF_EVERY_ELEMENT(depthwise_forward);
DF_EVERY_ELEMENT(depthwise_backward_data);
DF_EVERY_ELEMENT(depthwise_backward_weight);

}  // namespace dfengine::cpu
