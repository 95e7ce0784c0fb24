// Binary cross-entropy with logits. A batch has few logits, so one plain loop in double serves
// float and double.
#include "kernels/bce_loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"

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
    // exp of a non-positive number: cannot overflow.
    const double e = std::exp(-std::abs(z));
    const double sigmoid = (z >= 0 ? 1.0 : e) / (1.0 + e);
    const double both = weights.real * (1 - t) + weights.fake * t;
    dlogits[i] = static_cast<T>(scale * (both * sigmoid - weights.fake * t) / all);
  }
}

DF_FLOAT_AND_DOUBLE(bce_forward);
DF_FLOAT_AND_DOUBLE(bce_backward);

}  // namespace dfengine::cpu
