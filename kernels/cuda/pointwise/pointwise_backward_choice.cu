#include "kernels/cuda/pointwise/pointwise_backward_choice.h"

#include "kernels/batch_norm.h"
#include "kernels/cuda/pointwise/pointwise_backward_sums.h"
#include "kernels/cuda/tuning/timed_norm.h"

namespace dfengine::cuda {
namespace {

constexpr Index kAlignment = 16;

template <class T>
ChosenBackward<T> one_by_one(Tuner* tuner, const PointwiseProblem& p) {
  const auto data = choose_pointwise_gradient_sums<T>(tuner, p);
  const auto weight = choose_pointwise_backward_weight<T>(tuner, p, true);
  return {.data = data,
          .weight = weight,
          .sums = data.scratch,
          .scratch = weight.scratch,
          .launch = [to_data = data.launch, to_weight = weight.launch](
                        Stream stream, const T* x, const T* dy, const T* w, const NormOnLoad& norm,
                        void* sums, void* scratch, T* dx, float* dw) {
            if (dw != nullptr) to_weight(stream, x, dy, norm, scratch, dw);
            return to_data(stream, dy, w, x, norm, sums, dx);
          }};
}

template <class T>
ChosenBackward<T> together(const PointwiseProblem& p) {
  const Index parts = pointwise_sums_parts(p);
  return {.data = {.name = "both gradients"},
          .weight = {.name = "both gradients"},
          .sums = GradientSums::bytes(parts, p.c),
          .scratch = pointwise_sums_scratch(p) * kFloatBytes,
          .launch = [=](Stream stream, const T* x, const T* dy, const T* w, const NormOnLoad& norm,
                        void* sums, void* scratch, T* dx, float* dw) {
            const GradientSums of_dx{parts, static_cast<float*>(sums)};
            pointwise_backward_sums<T>(stream, p, x, dy, w, norm, static_cast<float*>(scratch), dw,
                                       dx, of_dx);
            return of_dx;
          }};
}

// x, dy, w, dx, dw, the vectors of a norm.
template <class T>
TunerProblem problem(const PointwiseProblem& p) {
  constexpr StorageType kType = storage_type<T>();
  const double k = static_cast<double>(p.k), m = static_cast<double>(p.m);
  return {.key = std::string("pointwise gradients ") + name_of(kType) + " " + std::to_string(p.m) +
                 "x" + std::to_string(p.c) + " to " + std::to_string(p.k) + "+sums",
          .operands = {{.type = kType, .count = p.m * p.c},
                       {.type = kType, .count = p.m * p.k},
                       {.type = kType, .count = p.k * p.c},
                       {.type = kType, .count = p.m * p.c},
                       {.type = StorageType::F32, .count = p.k * p.c},
                       timed_norm_vectors(p.c)},
          .output = 3,
          .terms = k,
          .magnitude = k,
          .further = TunerProblem::Further{
              .operand = 4, .rounded = StorageType::F32, .terms = m, .magnitude = 2 * m}};
}

using Timed = void(Stream, std::span<void* const>);

// Sums and scratch lie behind each other in what the tuner gives.
template <class T>
Kernel<Timed> timed(const std::string& name, Index channels, const ChosenBackward<T>& form) {
  const Index sums = round_up(form.sums, kAlignment);
  return {.name = name,
          .scratch = sums + form.scratch,
          .launch = [sums, channels, launch = form.launch](Stream stream,
                                                           std::span<void* const> operands) {
            const NormOnLoad norm = timed_norm(operands[5], channels);
            launch(stream, static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
                   static_cast<const T*>(operands[2]), norm, operands[6],
                   static_cast<std::byte*>(operands[6]) + sums, static_cast<T*>(operands[3]),
                   static_cast<float*>(operands[4]));
          }};
}

}  // namespace

template <class T>
ChosenBackward<T> choose_pointwise_backward(Tuner* tuner, const PointwiseProblem& p) {
  if (!has_pointwise_backward_sums(p)) return one_by_one<T>(tuner, p);
  ChosenBackward<T> one = together<T>(p);
  // One row has no statistics that could be timed.
  if (tuner == nullptr || p.m == 1) return one;
  const ChosenBackward<T> two = one_by_one<T>(tuner, p);
  const auto on_operands = [](const std::function<Timed>& launch) { return launch; };
  const auto chosen = tuner->choose<Timed>(
      problem<T>(p), {timed("both gradients", p.c, one), timed("one by one", p.c, two)}, nullptr,
      on_operands);
  if (chosen.name != one.data.name) return two;
  one.data = one.weight = chosen;
  return one;
}

#define DF_INSTANTIATE(T) \
  template ChosenBackward<T> choose_pointwise_backward<T>(Tuner*, const PointwiseProblem&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
