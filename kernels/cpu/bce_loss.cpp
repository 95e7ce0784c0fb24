// Binary cross-entropy with logits. A batch has few logits, so one plain loop in double serves
// float and double.
#include "kernels/bce_loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/sigmoid.h"

namespace dfengine::cpu {

template <class T>
void bce_forward(const Context&, Index n, const T* logits, const T* targets, T* loss,
                 const BceWeights& weights) {
  if (n < 1) throw ShapeError("binary cross-entropy: the batch is empty");
  double sum = 0;
  for (Index i = 0; i < n; ++i) {
    const double z = logits[i], t = targets[i];
    const double both = weights.real * (1 - t) + weights.fake * t;
    sum += both * std::max(z, 0.0) - weights.fake * (z * t) +
           both * std::log1p(std::exp(-std::abs(z)));
  }
  *loss = static_cast<T>(sum / static_cast<double>(n));
}

template <class T>
void bce_backward(const Context&, Index n, const T* logits, const T* targets,
                  const StepScalars* scalars, T* dlogits, const BceWeights& weights, Index whole) {
  if (n < 1) throw ShapeError("binary cross-entropy: the batch is empty");
  const double scale = scalars->loss_scale, all = static_cast<double>(whole > 0 ? whole : n);
  for (Index i = 0; i < n; ++i) {
    const double z = logits[i], t = targets[i];
    const double both = weights.real * (1 - t) + weights.fake * t;
    dlogits[i] = static_cast<T>(scale * (both * sigmoid(z) - weights.fake * t) / all);
  }
}

template <class T>
Index count_right(Index n, const T* logits, const T* targets) {
  Index right = 0;
  for (Index i = 0; i < n; ++i) right += (logits[i] >= 0) == (targets[i] > T{0.5});
  return right;
}

DF_FLOAT_AND_DOUBLE(bce_forward);
DF_FLOAT_AND_DOUBLE(bce_backward);
DF_FLOAT_AND_DOUBLE(count_right);

}  // namespace dfengine::cpu
