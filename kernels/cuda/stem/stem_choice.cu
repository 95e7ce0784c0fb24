#include "kernels/cuda/stem/stem_choice.h"

#include "kernels/cuda/tuning/tuner.h"

namespace dfengine::cuda {
namespace {

template <class T>
std::string key(const StemProblem& p) {
  return std::string("stem forward ") + name_of(storage_type<T>()) + " " + std::to_string(p.n) +
         "x" + std::to_string(p.h) + "x" + std::to_string(p.w) + " to " + std::to_string(p.k) +
         (p.padding == Padding::Torch ? " torch" : " tf_same");
}

}  // namespace

template <class T>
ChoicePtr choose_stem_forward(Tuner* tuner, const StemProblem& p, const EpilogueForm& form) {
  const std::vector<Candidate> own = {{.name = "own", .variant = {}}};
  constexpr StorageType kType = storage_type<T>();
  // cuDNN's bias has the type of y, ours is float: with a bias there is the own kernel alone.
  if (kType == StorageType::F32 || !form.plain()) return nullptr;
  if (tuner == nullptr) return choose_by_rule(own);
  const auto offer = [&](Libraries& libraries) { return libraries.stem(kType, p); };
  const auto start = [&](const Candidate& kernel) -> Launch {
    return [=, choice = Choice{kernel}](Stream stream, std::span<void* const> o) {
      stem_forward<T>(stream, &choice, p, static_cast<const T*>(o[0]), static_cast<const T*>(o[1]),
                      {}, o[3], static_cast<T*>(o[2]));
    };
  };
  return tuner->choose(
      {key<T>(p), {{kType, p.n * p.h * p.w * 3}, {kType, 27 * p.k}, {kType, p.output().count()}}},
      own, offer, start);
}

template <class T>
void stem_forward(Stream stream, const Choice* choice, const StemProblem& p, const T* x, const T* w,
                  const Epilogue<T, float>& epilogue, void* scratch, T* y) {
  using Library = std::shared_ptr<const LibraryKernel>;
  const Library* library =
      choice == nullptr ? nullptr : std::get_if<Library>(&choice->kernel.variant);
  if (library == nullptr) return stem_forward(stream, p, x, w, epilogue, y);
  (*library)->run(stream, x, w, Write::Overwrite, y, scratch);
}

#define DF_INSTANTIATE(T)                                                                     \
  template ChoicePtr choose_stem_forward<T>(Tuner*, const StemProblem&, const EpilogueForm&); \
  template void stem_forward(Stream, const Choice*, const StemProblem&, const T*, const T*,   \
                             const Epilogue<T, float>&, void*, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
