// Sums and norm of all gradients. The same loops serve float and double.
#include "kernels/gradients.h"

#include <algorithm>
#include <cmath>

namespace dfengine::cpu {
namespace {

// Calls body(begin, end, chunk) for chunks of kNormChunk elements.
template <class Body>
void for_chunks(const Context& ctx, Index count, Body&& body) {
  parallel_for(ctx.pool, clip_scratch(count) - 1, [&](Index chunk, int) {
    body(chunk * kNormChunk, std::min(count, (chunk + 1) * kNormChunk), chunk);
  });
}

}  // namespace

template <class T>
void add_gradients(const Context& ctx, Index count, const T* gradients, T* sum) {
  for_chunks(ctx, count, [&](Index begin, Index end, Index) {
    for (Index i = begin; i < end; ++i) sum[i] += gradients[i];
  });
}

template <class T>
void take_gradients(const Context& ctx, Index count, const StepInput* input, T* sum, T* gradients) {
  const T scale = static_cast<T>(input->gradient_scale);
  for_chunks(ctx, count, [&](Index begin, Index end, Index) {
    for (Index i = begin; i < end; ++i) {
      gradients[i] = (gradients[i] + sum[i]) * scale;
      sum[i] = 0;
    }
  });
}

template <class T>
void clip_gradients(const Context& ctx, Index count, double most, const StepScalars* scalars,
                    double* scratch, T* gradients) {
  for_chunks(ctx, count, [&](Index begin, Index end, Index chunk) {
    double squares = 0;
    for (Index i = begin; i < end; ++i) {
      const double g = gradients[i];
      squares += g * g;
    }
    scratch[chunk] = squares;
  });
  double squares = 0;
  for (Index chunk = 0; chunk < clip_scratch(count) - 1; ++chunk) squares += scratch[chunk];
  const double norm = std::sqrt(squares) / static_cast<double>(scalars->loss_scale);
  const double factor = most / (norm + kNormEps);
  if (!(factor < 1)) return;
  for_chunks(ctx, count, [&](Index begin, Index end, Index) {
    for (Index i = begin; i < end; ++i) gradients[i] = static_cast<T>(gradients[i] * factor);
  });
}

DF_FLOAT_AND_DOUBLE(add_gradients);
DF_FLOAT_AND_DOUBLE(take_gradients);
DF_FLOAT_AND_DOUBLE(clip_gradients);

}  // namespace dfengine::cpu
