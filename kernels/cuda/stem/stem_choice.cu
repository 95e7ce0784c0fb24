#include "kernels/cuda/stem/stem_choice.h"

#include "kernels/cuda/tuning/tuner.h"

namespace dfengine::cuda {
namespace {

template <class T>
std::string key(const StemProblem& p) {
  return std::string("stem forward ") + name_of(storage_type<T>()) + " " + std::to_string(p.n) +
         "x" + std::to_string(p.h) + "x" + std::to_string(p.w) + " to " + std::to_string(p.k) +
         (p.padding == Padding::Torch ? " torch" : " tf_same") + (p.stride == 1 ? " stride 1" : "");
}

template <class T>
std::function<StemForwardLaunch<T>> library_forward(const std::function<LibraryLaunch>& library) {
  return [=](Stream stream, const T* x, const T* w, const Epilogue<T, float>&, void* scratch,
             T* y) { library(stream, x, w, Write::Overwrite, y, scratch); };
}

}  // namespace

template <class T>
Chosen<StemForwardLaunch<T>> choose_stem_forward(Tuner* tuner, const StemProblem& p,
                                                 const EpilogueForm& form) {
  using Launch = StemForwardLaunch<T>;
  const std::vector<Kernel<Launch>> own = {
      {.name = "own",
       .launch = [p](Stream stream, const T* x, const T* w, const Epilogue<T, float>& epilogue,
                     void*, T* y) { stem_forward<T>(stream, p, x, w, epilogue, y); }}};
  constexpr StorageType kType = storage_type<T>();
  // cuDNN's bias has the type of y, ours is float: with a bias there is the own kernel alone.
  if (tuner == nullptr || kType == StorageType::F32 || !form.plain()) return choose_by_rule(own);
  constexpr Index kTerms = 27;
  const TunerProblem problem{.key = key<T>(p),
                             .operands = {{.type = kType, .count = p.n * p.h * p.w * 3},
                                          {.type = kType, .count = kTerms * p.k},
                                          {.type = kType, .count = p.output().count()}},
                             .output = 2,
                             .terms = kTerms,
                             .magnitude = kTerms};
  const auto offer = [=](Libraries& libraries) {
    return convert_each<Launch>(libraries.stem(kType, p), library_forward<T>);
  };
  const auto on_operands = [](const std::function<Launch>& launch) {
    return [=](Stream stream, std::span<void* const> operands) {
      const auto* const x = static_cast<const T*>(operands[0]);
      const auto* const w = static_cast<const T*>(operands[1]);
      launch(stream, x, w, {}, operands[3], static_cast<T*>(operands[2]));
    };
  };
  return tuner->choose<Launch>(problem, own, offer, on_operands);
}

#define DF_INSTANTIATE(T)                                                                  \
  template Chosen<StemForwardLaunch<T>> choose_stem_forward<T>(Tuner*, const StemProblem&, \
                                                               const EpilogueForm&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
