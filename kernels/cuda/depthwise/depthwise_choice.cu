#include "kernels/cuda/depthwise/depthwise_choice.h"

#include "kernels/batch_norm.h"
#include "kernels/cuda/depthwise/depthwise_check.h"
#include "kernels/cuda/depthwise/depthwise_gradient.h"
#include "kernels/cuda/depthwise/depthwise_moments.h"
#include "kernels/cuda/depthwise/depthwise_tiles.h"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/tuning/timed_norm.h"

namespace dfengine::cuda {
namespace {

constexpr Index kTaps = DepthwiseProblem::kTaps;
// What the last step of a batch norm's gradient makes at most of numbers in [-1, 1], as what is
// timed has them.
constexpr double kLargestGradient = 3;

template <class T>
std::string key(const char* what, const DepthwiseProblem& p) {
  return std::string(what) + " " + name_of(storage_type<T>()) + " " + std::to_string(p.n) + "x" +
         std::to_string(p.h) + "x" + std::to_string(p.w) + "x" + std::to_string(p.c) + " stride " +
         std::to_string(p.stride) + (p.padding == Padding::Torch ? " torch" : " tf_same");
}

// ---- Forward with moments
// -------------------------------------------------------------------------

template <class T>
using Moments = Kernel<DepthwiseMomentsLaunch<T>>;

template <class T>
Moments<T> moments_kernel(const std::string& name, const DepthwiseProblem& p, Index parts,
                          void (*forward)(Stream, const DepthwiseProblem&, const T*, const T*,
                                          const NormOnLoad&, T*, const ChannelMoments&)) {
  return {.name = name,
          .scratch = ChannelMoments::bytes(parts, p.c),
          .launch = [=](Stream stream, const T* x, const T* w, const NormOnLoad& norm, void* memory,
                        T* y) {
            const ChannelMoments moments{parts, static_cast<float*>(memory)};
            forward(stream, p, x, w, norm, y, moments);
            return moments;
          }};
}

// x, w, y, the vectors of x's norm; what batch norm's statistics read and save, and what they make
// of the moments.
template <class T>
TunerProblem moments_problem(const DepthwiseProblem& p) {
  constexpr StorageType kType = storage_type<T>();
  return {.key = key<T>("depthwise forward", p) + "+norm+moments",
          .operands = {{.type = kType, .count = p.input().count()},
                       {.type = kType, .count = kTaps * p.c},
                       {.type = kType, .count = p.output().count()},
                       timed_norm_vectors(p.c),
                       {.type = StorageType::F32, .count = 4 * p.c},
                       {.type = StorageType::F32, .count = 2 * p.c}},
          .output = 2,
          .terms = kTaps,
          .magnitude = kLargestNormalised * kTaps,
          // Mean and variance of y, whose terms have random signs.
          .further =
              TunerProblem::Further{.operand = 5,
                                    .rounded = kType,
                                    .terms = static_cast<double>(p.n * p.p * p.q),
                                    .magnitude = kLargestNormalised * kLargestNormalised * kTaps}};
}

// ---- Both gradients
// -------------------------------------------------------------------------------

template <class T>
ChosenDepthwiseBackward<T> backward_form(
    const std::string& name, const DepthwiseProblem& p, Index parts, Index scratch_floats,
    void (*backward)(Stream, const DepthwiseProblem&, const T*, const T*, const T*, const T*,
                     const NormOnLoad&, const GradientOnLoad&, float*, float*, T*,
                     const GradientSums&)) {
  return {.choice = {.name = name, .rule = name},
          .sums = GradientSums::bytes(parts, p.c),
          .scratch = scratch_floats * kFloatBytes,
          .launch = [=](Stream stream, const T* x, const T* y, const T* dy, const T* w,
                        const NormOnLoad& norm, const GradientOnLoad& gradient, void* sums,
                        void* scratch, float* dw, T* dx) {
            const GradientSums of_dx{parts, static_cast<float*>(sums)};
            backward(stream, p, x, y, dy, w, norm, gradient, static_cast<float*>(scratch), dw, dx,
                     of_dx);
            return of_dx;
          }};
}

// x, y, dy, w, dx; the taps' gradients and behind them the sums of dx; the vectors of x's norm and
// of y's.
template <class T>
TunerProblem backward_problem(const DepthwiseProblem& p, bool gradient_on_load) {
  constexpr StorageType kType = storage_type<T>();
  const double rows = static_cast<double>(p.n * p.h * p.w);
  const double largest = gradient_on_load ? kLargestGradient : 1;
  return {
      .key = key<T>("depthwise gradients", p) + (gradient_on_load ? "+load" : "") + "+sums",
      .operands = {{.type = kType, .count = p.input().count()},
                   {.type = kType, .count = p.output().count()},
                   {.type = kType, .count = p.output().count()},
                   {.type = kType, .count = kTaps * p.c},
                   {.type = kType, .count = p.input().count()},
                   {.type = StorageType::F32, .count = (kTaps + 2) * p.c},
                   timed_norm_vectors(p.c),
                   {.type = StorageType::F32, .count = 3 * p.c}},
      .output = 4,
      .terms = kTaps,
      .magnitude = largest * kTaps,
      .further = TunerProblem::Further{
          .operand = 5, .rounded = kType, .terms = rows, .magnitude = largest * kTaps * 2 * rows}};
}

using Timed = void(Stream, std::span<void* const>);

// Sums and scratch lie behind each other in what the tuner gives.
template <class T>
Kernel<Timed> timed(const DepthwiseProblem& p, bool gradient_on_load,
                    const ChosenDepthwiseBackward<T>& form) {
  constexpr Index kAlignment = 16;
  const Index sums = round_up(form.sums, kAlignment);
  return {.name = form.choice.name,
          .scratch = sums + form.scratch,
          .launch = [=, launch = form.launch](Stream stream, std::span<void* const> operands) {
            const auto in = [&](std::size_t i) { return static_cast<const T*>(operands[i]); };
            const GradientOnLoad gradient{gradient_on_load ? static_cast<const float*>(operands[7])
                                                           : nullptr};
            auto* const dw = static_cast<float*>(operands[5]);
            const GradientSums of_dx = launch(
                stream, in(0), gradient_on_load ? in(1) : nullptr, in(2), in(3),
                timed_norm(operands[6], p.c), gradient, operands[8],
                static_cast<std::byte*>(operands[8]) + sums, dw, static_cast<T*>(operands[4]));
            ordered_sum(stream, of_dx.parts, 2 * p.c, of_dx.parts, of_dx.values, dw + kTaps * p.c);
          }};
}

// Once for these channels, stride and padding.
template <class T>
bool tiles_are_right(Tuner& tuner, const DepthwiseProblem& p) {
  const auto any_size = DepthwiseProblem::make({1, 1, 1, p.c}, p.stride, p.padding);
  return tuner.passes(key<T>("depthwise gradients by tiles", any_size),
                      [&] { check_depthwise_tiles<T>(p); });
}

}  // namespace

template <class T>
Chosen<DepthwiseMomentsLaunch<T>> choose_depthwise_moments(Tuner* tuner, const DepthwiseProblem& p,
                                                           bool norm) {
  using Launch = DepthwiseMomentsLaunch<T>;
  std::vector<Moments<T>> kernels = {
      moments_kernel<T>("strips", p, depthwise_moment_parts(p), &depthwise_forward_moments<T>)};
  // One row has no statistics that could be timed.
  if (tuner == nullptr || !norm || !has_depthwise_tiles(p) || p.n * p.p * p.q == 1)
    return choose_by_rule(kernels);
  kernels.push_back(
      moments_kernel<T>("tiles", p, depthwise_tiles_moment_parts(p), &depthwise_tiles_forward<T>));
  const auto of_norm = BatchNormProblem::make(p.n * p.p * p.q, p.c, 1e-5, 1, Activation::None);
  const auto on_operands = [=](const std::function<Launch>& launch) {
    return [=](Stream stream, std::span<void* const> operands) {
      auto* const y = static_cast<T*>(operands[2]);
      const ChannelMoments moments =
          launch(stream, static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
                 timed_norm(operands[3], p.c), operands[6], y);
      auto* const before = static_cast<float*>(operands[4]);
      auto* const saved = before + 2 * p.c;
      auto* const next = static_cast<float*>(operands[5]);
      batch_norm_statistics<T>(stream, of_norm, y, nullptr, nullptr, before, before + p.c, next,
                               next + p.c, nullptr, saved, saved + p.c, nullptr, moments);
    };
  };
  return tuner->choose<Launch>(moments_problem<T>(p), kernels, nullptr, on_operands);
}

template <class T>
ChosenDepthwiseBackward<T> choose_depthwise_backward(Tuner* tuner, const DepthwiseProblem& p,
                                                     bool gradient_on_load) {
  const auto strips = backward_form<T>("strips", p, depthwise_gradient_parts(p),
                                       depthwise_gradient_scratch(p), &depthwise_backward_sums<T>);
  if (tuner == nullptr || !has_depthwise_tiles_backward(p) || !tiles_are_right<T>(*tuner, p))
    return strips;
  const Index parts = depthwise_tiles_gradient_parts(p);
  auto tiles =
      backward_form<T>("tiles", p, parts, parts * kTaps * p.c, &depthwise_tiles_backward<T>);
  const auto chosen =
      tuner->choose<Timed>(backward_problem<T>(p, gradient_on_load),
                           {timed(p, gradient_on_load, strips), timed(p, gradient_on_load, tiles)},
                           nullptr, [](const std::function<Timed>& launch) { return launch; });
  ChosenDepthwiseBackward<T> form = chosen.name == tiles.choice.name ? tiles : strips;
  form.choice = chosen;
  return form;
}

#define DF_INSTANTIATE(T)                                                  \
  template Chosen<DepthwiseMomentsLaunch<T>> choose_depthwise_moments<T>(  \
      Tuner*, const DepthwiseProblem&, bool);                              \
  template ChosenDepthwiseBackward<T> choose_depthwise_backward<T>(Tuner*, \
                                                                   const DepthwiseProblem&, bool);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
