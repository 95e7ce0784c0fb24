// Stem convolution on the CPU: plain loops in double (the oracle), the vectorised rows of
// kernels/cpu/simd/ in float and bf16, and the split over threads shared by both.
#include "kernels/stem_conv.h"

#include "kernels/activation_function.h"
#include "kernels/cpu/row_split.h"
#include "kernels/cpu/simd/stem_conv.h"

namespace dfengine::cpu {
namespace {

constexpr Index kTaps = 27;

// Calls body(x offset, tap) for every input inside the window of output pixel (row, q); rows are
// counted over the batch.
template <class Body>
void for_taps(const StemProblem& p, Index row, Index q, Body&& body) {
  for (Index tap = 0; tap < kTaps; ++tap) {
    const Index i = row % p.p * p.stride + tap / 9 - p.before_h;
    const Index j = q * p.stride + tap / 3 % 3 - p.before_w;
    if (i < 0 || i >= p.h || j < 0 || j >= p.w) continue;
    body(((row / p.p * p.h + i) * p.w + j) * 3 + tap % 3, tap);
  }
}

void forward_rows(const StemProblem& p, const double* x, const double* w,
                  const Epilogue<double>& epilogue, Index begin, Index end, double* y) {
  for (Index row = begin; row < end; ++row) {
    for (Index q = 0; q < p.q; ++q) {
      for (Index k = 0; k < p.k; ++k) {
        double sum = epilogue.bias ? epilogue.bias[k] : 0;
        for_taps(p, row, q, [&](Index xi, Index tap) { sum += x[xi] * w[tap * p.k + k]; });
        const Index at = (row * p.q + q) * p.k + k;
        const double v = activate(epilogue.activation, sum);
        y[at] = epilogue.residual ? v + epilogue.residual[at] : v;
      }
    }
  }
}

void backward_weight_rows(const StemProblem& p, const double* x, const double* dy, Index begin,
                          Index end, double* partial) {
  for (Index row = begin; row < end; ++row) {
    for (Index q = 0; q < p.q; ++q) {
      const double* grads = dy + (row * p.q + q) * p.k;
      for_taps(p, row, q, [&](Index xi, Index tap) {
        for (Index k = 0; k < p.k; ++k) partial[tap * p.k + k] += x[xi] * grads[k];
      });
    }
  }
}

template <class T>
void forward_rows(const StemProblem& p, const T* x, const float* w, const Epilogue<T>& epilogue,
                  Index begin, Index end, T* y) {
  current_stem<T>().forward(p, x, w, epilogue, begin, end, y);
}

template <class T>
void backward_weight_rows(const StemProblem& p, const T* x, const T* dy, Index begin, Index end,
                          float* partial) {
  current_stem<T>().backward_weight(p, x, dy, begin, end, partial);
}

}  // namespace

template <class T>
void stem_forward(const Context& ctx, const StemProblem& p, const T* x, const SumOf<T>* w,
                  const Epilogue<T>& epilogue, T* y) {
  for_bands(ctx, p.n * p.p, p.q * p.k,
            [&](Index begin, Index end) { forward_rows(p, x, w, epilogue, begin, end, y); });
}

Index stem_weight_scratch(const StemProblem& p) {
  return slice_count(p.n * p.p, p.q) * kTaps * p.k;
}

template <class T>
void stem_backward_weight(const Context& ctx, const StemProblem& p, const T* x, const T* dy,
                          SumOf<T>* scratch, SumOf<T>* dw) {
  const Index rows = p.n * p.p;
  sum_slices(ctx, rows, slice_count(rows, p.q), kTaps * p.k, scratch, dw,
             [&](Index begin, Index end, SumOf<T>* partial) {
               backward_weight_rows(p, x, dy, begin, end, partial);
             });
}

DF_EVERY_ELEMENT(stem_forward);
DF_EVERY_ELEMENT(stem_backward_weight);

}  // namespace dfengine::cpu
