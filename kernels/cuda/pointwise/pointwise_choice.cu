#include "kernels/cuda/pointwise/pointwise_choice.h"

#include "kernels/batch_norm.h"
#include "kernels/cuda/pointwise/pointwise_candidates.cuh"
#include "kernels/cuda/pointwise/pointwise_epilogue.h"
#include "kernels/cuda/tuning/timed_norm.h"

namespace dfengine::cuda {
namespace {

template <class T>
std::string key(const char* operation, const PointwiseProblem& p) {
  return std::string(operation) + " " + name_of(storage_type<T>()) + " " + std::to_string(p.m) +
         "x" + std::to_string(p.c) + " to " + std::to_string(p.k);
}

template <class T>
std::function<PointwiseBackwardDataLaunch<T>> library_backward_data(
    std::function<LibraryLaunch> library) {
  return [library = std::move(library)](Stream stream, const T* dy, const T* w, Write write,
                                        void* scratch,
                                        T* dx) { library(stream, dy, w, write, dx, scratch); };
}

// What cuBLASLt offers for a pass: nothing for float.
template <class T, class Launch>
Tuner::Offer<Launch> offer(
    PointwisePass pass, const PointwiseProblem& p,
    std::function<std::function<Launch>(std::function<LibraryLaunch>)> convert) {
  if (std::is_same_v<T, float>) return nullptr;
  return [=](Libraries& libraries) {
    return convert_each<Launch>(libraries.pointwise(pass, storage_type<T>(), p), convert);
  };
}

NormOnLoad timed_norm_if(bool norm, const void* vectors, const PointwiseProblem& p) {
  return norm ? timed_norm(vectors, p.c) : NormOnLoad{};
}

// Operands lie in [-1, 1].
constexpr double largest_operand(bool norm) {
  return norm ? kLargestNormalised : 1;
}

void refuse(const NormOnLoad& norm) {
  if (norm.present())
    throw Error(
        "pointwise convolution on the device: the kernel of a library cannot normalise on load");
}

void refuse_residual(const void* residual) {
  if (residual != nullptr)
    throw Error(
        "pointwise convolution on the device: the kernel of a library would overwrite a residual");
}

}  // namespace

template <class T>
std::function<PointwiseForwardLaunch<T>> library_forward(const PointwiseProblem& p,
                                                         std::function<LibraryLaunch> library) {
  return [p, library = std::move(library)](Stream stream, const T* x, const T* w,
                                           const Epilogue<T, float>& epilogue,
                                           const NormOnLoad& norm, void* scratch, T* y) {
    refuse(norm);
    refuse_residual(epilogue.residual);
    library(stream, x, w, Write::Overwrite, y, scratch);
    if (epilogue.bias != nullptr || epilogue.activation != Activation::None)
      pointwise_epilogue(stream, p, epilogue, y);
  };
}

template <class T>
std::function<PointwiseBackwardWeightLaunch<T>> library_backward_weight(
    std::function<LibraryLaunch> library) {
  return [library = std::move(library)](Stream stream, const T* x, const T* dy,
                                        const NormOnLoad& norm, void* scratch, float* dw) {
    refuse(norm);
    library(stream, x, dy, Write::Overwrite, dw, scratch);
  };
}

template <class T>
Chosen<PointwiseForwardLaunch<T>> choose_pointwise_forward(Tuner* tuner, const PointwiseProblem& p,
                                                           const EpilogueForm& form, bool norm) {
  using Launch = PointwiseForwardLaunch<T>;
  if (tuner == nullptr) return choose_by_rule(own_forward<T>(p));
  constexpr StorageType kType = storage_type<T>();
  const TunerProblem problem{
      .key = key<T>("pointwise forward", p) + form.name() + (norm ? "+norm" : ""),
      .operands = {{.type = kType, .count = p.m * p.c},
                   {.type = kType, .count = p.k * p.c},
                   {.type = kType, .count = p.m * p.k},
                   {.type = StorageType::F32, .count = p.k},
                   timed_norm_vectors(p.c)},
      .output = 2,
      .terms = static_cast<double>(p.c),
      // A bias and a residual add at most 1 each.
      .magnitude = largest_operand(norm) * static_cast<double>(p.c) + 2};
  // cuBLASLt's bias has the type of y, ours is float, and it does not end at 6: a pass over y adds
  // both. It pays where y stays in the cache. The residual may be y, which a library overwrites.
  const auto libraries =
      form.residual || norm
          ? nullptr
          : offer<T, Launch>(PointwisePass::Forward, p, [p](std::function<LibraryLaunch> library) {
              return library_forward<T>(p, std::move(library));
            });
  const auto on_operands = [=](const std::function<Launch>& launch) {
    return [=](Stream stream, std::span<void* const> operands) {
      const auto* const x = static_cast<const T*>(operands[0]);
      const auto* const w = static_cast<const T*>(operands[1]);
      auto* const y = static_cast<T*>(operands[2]);
      const Epilogue<T, float> epilogue{
          .bias = form.bias ? static_cast<const float*>(operands[3]) : nullptr,
          .activation = form.activation,
          .residual = form.residual ? y : nullptr};
      launch(stream, x, w, epilogue, timed_norm_if(norm, operands[4], p), operands[5], y);
    };
  };
  return tuner->choose<Launch>(problem, own_forward<T>(p), libraries, on_operands);
}

template <class T>
Chosen<PointwiseMomentsLaunch<T>> choose_pointwise_moments(Tuner* tuner, const PointwiseProblem& p,
                                                           bool norm) {
  using Launch = PointwiseMomentsLaunch<T>;
  // One row has no statistics that could be timed.
  if (tuner == nullptr || p.m == 1) return choose_by_rule(own_moments<T>(p));
  constexpr StorageType kType = storage_type<T>();
  const double terms = static_cast<double>(p.c), largest = largest_operand(norm);
  const TunerProblem problem{
      .key = key<T>("pointwise forward", p) + (norm ? "+norm" : "") + "+moments",
      .operands = {{.type = kType, .count = p.m * p.c},
                   {.type = kType, .count = p.k * p.c},
                   {.type = kType, .count = p.m * p.k},
                   timed_norm_vectors(p.c),
                   {.type = StorageType::F32, .count = 4 * p.k},
                   {.type = StorageType::F32, .count = 2 * p.k}},
      .output = 2,
      .terms = terms,
      .magnitude = largest * terms,
      // Mean and variance of y, whose terms have random signs.
      .further = TunerProblem::Further{.operand = 5,
                                       .rounded = kType,
                                       .terms = static_cast<double>(p.m),
                                       .magnitude = largest * largest * terms}};
  const auto of_norm = BatchNormProblem::make(p.m, p.k, 1e-5, 1, Activation::None);
  const auto on_operands = [=](const std::function<Launch>& launch) {
    return [=](Stream stream, std::span<void* const> operands) {
      auto* const y = static_cast<T*>(operands[2]);
      const ChannelMoments moments =
          launch(stream, static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
                 timed_norm_if(norm, operands[3], p), operands[6], y);
      auto* const before = static_cast<float*>(operands[4]);
      auto* const saved = before + 2 * p.k;
      auto* const next = static_cast<float*>(operands[5]);
      batch_norm_statistics<T>(stream, of_norm, y, nullptr, nullptr, before, before + p.k, next,
                               next + p.k, nullptr, saved, saved + p.k, nullptr, moments);
    };
  };
  return tuner->choose<Launch>(problem, own_moments<T>(p), nullptr, on_operands);
}

template <class T>
Chosen<PointwiseBackwardDataLaunch<T>> choose_pointwise_backward_data(Tuner* tuner,
                                                                      const PointwiseProblem& p) {
  using Launch = PointwiseBackwardDataLaunch<T>;
  if (tuner == nullptr) return choose_by_rule(own_backward_data<T>(p));
  constexpr StorageType kType = storage_type<T>();
  const TunerProblem problem{.key = key<T>("pointwise data gradient", p),
                             .operands = {{.type = kType, .count = p.m * p.k},
                                          {.type = kType, .count = p.k * p.c},
                                          {.type = kType, .count = p.m * p.c}},
                             .output = 2,
                             .terms = static_cast<double>(p.k),
                             .magnitude = static_cast<double>(p.k)};
  const auto on_operands = [](const std::function<Launch>& launch) {
    return [=](Stream stream, std::span<void* const> operands) {
      const auto* const dy = static_cast<const T*>(operands[0]);
      const auto* const w = static_cast<const T*>(operands[1]);
      launch(stream, dy, w, Write::Overwrite, operands[3], static_cast<T*>(operands[2]));
    };
  };
  return tuner->choose<Launch>(
      problem, own_backward_data<T>(p),
      offer<T, Launch>(PointwisePass::DataGradient, p, library_backward_data<T>), on_operands);
}

template <class T>
Chosen<PointwiseGradientSumsLaunch<T>> choose_pointwise_gradient_sums(Tuner* tuner,
                                                                      const PointwiseProblem& p) {
  using Launch = PointwiseGradientSumsLaunch<T>;
  if (tuner == nullptr) return choose_by_rule(own_gradient_sums<T>(p));
  constexpr StorageType kType = storage_type<T>();
  const double terms = static_cast<double>(p.k);
  const TunerProblem problem{
      .key = key<T>("pointwise data gradient", p) + "+sums",
      .operands = {{.type = kType, .count = p.m * p.k},
                   {.type = kType, .count = p.k * p.c},
                   {.type = kType, .count = p.m * p.c},
                   {.type = kType, .count = p.m * p.c},
                   timed_norm_vectors(p.c),
                   {.type = StorageType::F32, .count = 3 * p.c},
                   {.type = StorageType::F32, .count = 2 * p.c}},
      .output = 3,
      .terms = terms,
      .magnitude = terms,
      // The gradients of scale and shift: sums of gradients, and of them times differences below 2.
      .further = TunerProblem::Further{.operand = 6,
                                       .rounded = kType,
                                       .terms = static_cast<double>(p.m),
                                       .magnitude = 2 * terms}};
  const auto of_norm = BatchNormProblem::make(p.m, p.c, 1e-5, 1, Activation::Relu6);
  const auto on_operands = [=](const std::function<Launch>& launch) {
    return [=](Stream stream, std::span<void* const> operands) {
      const auto* const x = static_cast<const T*>(operands[2]);
      auto* const dx = static_cast<T*>(operands[3]);
      const NormOnLoad norm = timed_norm(operands[4], p.c);
      const GradientSums sums =
          launch(stream, static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]), x,
                 norm, operands[7], dx);
      auto* const factors = static_cast<float*>(operands[5]);
      auto* const gradients = static_cast<float*>(operands[6]);
      batch_norm_backward_given<T>(stream, of_norm, sums, x, dx, norm.scale, norm.mean, norm.scale,
                                   factors, gradients, gradients + p.c, nullptr);
    };
  };
  return tuner->choose<Launch>(problem, own_gradient_sums<T>(p), nullptr, on_operands);
}

template <class T>
Chosen<PointwiseBackwardWeightLaunch<T>> choose_pointwise_backward_weight(Tuner* tuner,
                                                                          const PointwiseProblem& p,
                                                                          bool norm) {
  using Launch = PointwiseBackwardWeightLaunch<T>;
  if (tuner == nullptr) return choose_by_rule(own_backward_weight<T>(p));
  constexpr StorageType kType = storage_type<T>();
  const TunerProblem problem{.key = key<T>("pointwise weight gradient", p) + (norm ? "+norm" : ""),
                             .operands = {{.type = kType, .count = p.m * p.c},
                                          {.type = kType, .count = p.m * p.k},
                                          {.type = StorageType::F32, .count = p.k * p.c},
                                          timed_norm_vectors(p.c)},
                             .output = 2,
                             .terms = static_cast<double>(p.m),
                             .magnitude = largest_operand(norm) * static_cast<double>(p.m)};
  const auto libraries =
      norm ? nullptr
           : offer<T, Launch>(PointwisePass::WeightGradient, p, library_backward_weight<T>);
  const auto on_operands = [=](const std::function<Launch>& launch) {
    return [=](Stream stream, std::span<void* const> operands) {
      const auto* const x = static_cast<const T*>(operands[0]);
      const auto* const dy = static_cast<const T*>(operands[1]);
      auto* const dw = static_cast<float*>(operands[2]);
      launch(stream, x, dy, timed_norm_if(norm, operands[3], p), operands[4], dw);
    };
  };
  return tuner->choose<Launch>(problem, own_backward_weight<T>(p), libraries, on_operands);
}

#define DF_INSTANTIATE(T)                                                                \
  template Chosen<PointwiseForwardLaunch<T>> choose_pointwise_forward<T>(                \
      Tuner*, const PointwiseProblem&, const EpilogueForm&, bool);                       \
  template Chosen<PointwiseBackwardDataLaunch<T>> choose_pointwise_backward_data<T>(     \
      Tuner*, const PointwiseProblem&);                                                  \
  template Chosen<PointwiseBackwardWeightLaunch<T>> choose_pointwise_backward_weight<T>( \
      Tuner*, const PointwiseProblem&, bool);                                            \
  template std::function<PointwiseForwardLaunch<T>> library_forward<T>(                  \
      const PointwiseProblem&, std::function<LibraryLaunch>);                            \
  template std::function<PointwiseBackwardWeightLaunch<T>> library_backward_weight<T>(   \
      std::function<LibraryLaunch>);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

template Chosen<PointwiseGradientSumsLaunch<Half>> choose_pointwise_gradient_sums<Half>(
    Tuner*, const PointwiseProblem&);
template Chosen<PointwiseGradientSumsLaunch<BFloat16>> choose_pointwise_gradient_sums<BFloat16>(
    Tuner*, const PointwiseProblem&);
template Chosen<PointwiseMomentsLaunch<Half>> choose_pointwise_moments<Half>(
    Tuner*, const PointwiseProblem&, bool);
template Chosen<PointwiseMomentsLaunch<BFloat16>> choose_pointwise_moments<BFloat16>(
    Tuner*, const PointwiseProblem&, bool);

}  // namespace dfengine::cuda
