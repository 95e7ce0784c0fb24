#include "kernels/cuda/inverted_residual/inverted_residual_choice.h"

#include "kernels/cuda/tuning/tuner.h"

namespace dfengine::cuda {
namespace {

template <class T>
std::string key(const InvertedResidualProblem& p) {
  const DepthwiseProblem& d = p.depthwise;
  std::string text = std::string("inverted residual ") + name_of(storage_type<T>());
  for (Index size : {d.n, d.h, d.w, p.in, d.c, p.out, d.stride})
    text.append(" ").append(std::to_string(size));
  return text + (p.pixels ? " pixels" : "") + (p.residual ? " residual" : "") +
         (d.padding == Padding::Torch ? " torch" : " tf_same");
}

// "8 warps", "4 warps, 6 splits", "4 warps, 6 splits in a cluster"
std::string name_of(const InvertedResidualConfig& config) {
  return std::to_string(config.warps) + " warps" +
         (config.splits > 1 ? ", " + std::to_string(config.splits) + " splits" : "") +
         (config.cluster ? " in a cluster" : "");
}

// x, y and the weights.
template <class T>
TunerProblem problem(const InvertedResidualProblem& p) {
  constexpr StorageType kType = storage_type<T>();
  // Two pixels are as large as one element.
  const Index x =
      p.pixels ? divide_up(p.pixels->stem.n * p.pixels->stem.h * p.pixels->stem.w * 3, Index{2})
               : p.input().count();
  return {.key = key<T>(p),
          .operands = {{kType, x},
                       {kType, p.output().count()},
                       {kType, inverted_residual_weight_bytes(p) / bytes_of(kType)}},
          // What is filtered is at most 6.
          .output = 1,
          .terms = static_cast<double>(p.depthwise.c),
          .magnitude = static_cast<double>(p.depthwise.c) * 6.0};
}

}  // namespace

template <class T>
Chosen<InvertedResidualLaunch<T>> choose_inverted_residual(Tuner* tuner,
                                                           const InvertedResidualProblem& p) {
  using Launch = InvertedResidualLaunch<T>;
  std::vector<Kernel<Launch>> kernels;
  for (const InvertedResidualConfig& config : inverted_residual_configs(p))
    kernels.push_back(
        {.name = name_of(config),
         .scratch = config.scratch(p),
         .launch = [=](Stream stream, const void* x, const void* weights, void* scratch, T* y) {
           inverted_residual<T>(stream, config, p, x, weights, scratch, y);
         }});
  if (kernels.empty())
    throw ShapeError("inverted residual on the device: no kernel for " + std::to_string(p.in) +
                     " to " + std::to_string(p.out) + " channels");
  if (tuner == nullptr) return choose_by_rule(kernels);
  const auto on_operands = [](const std::function<Launch>& launch) {
    return [=](Stream stream, std::span<void* const> operands) {
      launch(stream, operands[0], operands[2], operands[3], static_cast<T*>(operands[1]));
    };
  };
  return tuner->choose<Launch>(problem<T>(p), std::move(kernels), {}, on_operands);
}

#define DF_INSTANTIATE(T)                                                 \
  template Chosen<InvertedResidualLaunch<T>> choose_inverted_residual<T>( \
      Tuner*, const InvertedResidualProblem&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
