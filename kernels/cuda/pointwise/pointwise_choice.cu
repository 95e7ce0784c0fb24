#include "kernels/cuda/pointwise/pointwise_choice.h"

#include "kernels/base/error.h"
#include "kernels/cuda/tuning/tuner.h"
#include "kernels/pointwise_conv.h"

namespace dfengine::cuda {
namespace {

using Library = std::shared_ptr<const LibraryKernel>;

template <class T>
std::string key(const char* operation, const PointwiseProblem& p) {
  return std::string(operation) + " " + name_of(storage_type<T>()) + " " + std::to_string(p.m) +
         "x" + std::to_string(p.c) + " to " + std::to_string(p.k);
}

std::vector<Candidate> tiles(Index rows, Index columns, Index depth) {
  std::vector<Candidate> all;
  for (const PointwiseConfig& c : candidate_configs(rows, columns, depth))
    all.push_back({name_of(c), c});
  return all;
}

std::vector<Candidate> weight_tiles(const PointwiseProblem& p) {
  std::vector<Candidate> all;
  for (const PointwiseWeightConfig& c : candidate_weight_configs(p))
    all.push_back({name_of(c), c, c.scratch(p) * Index{sizeof(float)}});
  return all;
}

// What cuBLASLt offers for a product without an epilogue.
Tuner::Offer offer(PointwisePass pass, StorageType type, const PointwiseProblem& p) {
  return [=](Libraries& libraries) { return libraries.pointwise(pass, type, p); };
}

// What is timed where a norm will be: its numbers do not matter.
NormOnLoad timed_norm(bool norm, const void* vector) {
  if (!norm) return {};
  const auto* v = static_cast<const float*>(vector);
  return {v, v, Activation::Relu6};
}

// The library of a choice. Throws Error where it would leave out a norm.
const LibraryKernel& library_of(const Choice& choice, const NormOnLoad& norm) {
  if (norm.present())
    throw Error("pointwise convolution on the device: " + choice.kernel.name +
                " cannot normalise on load");
  return *std::get<Library>(choice.kernel.variant);
}

}  // namespace

template <class T>
ChoicePtr choose_pointwise_forward(Tuner* tuner, const PointwiseProblem& p,
                                   const EpilogueForm& form, bool norm) {
  if constexpr (std::is_same_v<T, float>) {
    return nullptr;
  } else {
    const std::vector<Candidate> own = tiles(p.m, p.k, p.c);
    if (tuner == nullptr) return choose_by_rule(own);
    constexpr StorageType kType = storage_type<T>();
    // cuBLASLt's bias has the type of y, ours is float: with a bias there are own tiles alone.
    const auto library = form.plain() && !norm ? offer(PointwisePass::Forward, kType, p) : nullptr;
    const auto start = [&](const Candidate& kernel) -> Launch {
      return [=, choice = Choice{kernel}](Stream stream, std::span<void* const> o) {
        auto* const y = static_cast<T*>(o[2]);
        const Epilogue<T, float> epilogue{form.bias ? static_cast<const float*>(o[3]) : nullptr,
                                          form.activation, form.residual ? y : nullptr};
        pointwise_forward(stream, &choice, p, static_cast<const T*>(o[0]),
                          static_cast<const T*>(o[1]), epilogue, o[5], y, timed_norm(norm, o[4]));
      };
    };
    return tuner->choose({key<T>("pointwise forward", p) + form.name() + (norm ? "+norm" : ""),
                          {{kType, p.m * p.c},
                           {kType, p.k * p.c},
                           {kType, p.m * p.k},
                           {StorageType::F32, p.k},
                           {StorageType::F32, p.c}}},
                         own, library, start);
  }
}

template <class T>
ChoicePtr choose_pointwise_backward_data(Tuner* tuner, const PointwiseProblem& p) {
  if constexpr (std::is_same_v<T, float>) {
    return nullptr;
  } else {
    const std::vector<Candidate> own = tiles(p.m, p.c, p.k);
    if (tuner == nullptr) return choose_by_rule(own);
    constexpr StorageType kType = storage_type<T>();
    const auto start = [&](const Candidate& kernel) -> Launch {
      return [=, choice = Choice{kernel}](Stream stream, std::span<void* const> o) {
        pointwise_backward_data(stream, &choice, p, static_cast<const T*>(o[0]),
                                static_cast<const T*>(o[1]), Write::Overwrite, o[3],
                                static_cast<T*>(o[2]));
      };
    };
    return tuner->choose({key<T>("pointwise data gradient", p),
                          {{kType, p.m * p.k}, {kType, p.k * p.c}, {kType, p.m * p.c}}},
                         own, offer(PointwisePass::DataGradient, kType, p), start);
  }
}

template <class T>
ChoicePtr choose_pointwise_backward_weight(Tuner* tuner, const PointwiseProblem& p, bool norm) {
  if constexpr (std::is_same_v<T, float>) {
    return nullptr;
  } else {
    const std::vector<Candidate> own = weight_tiles(p);
    if (tuner == nullptr) return choose_by_rule(own);
    constexpr StorageType kType = storage_type<T>();
    const auto start = [&](const Candidate& kernel) -> Launch {
      return [=, choice = Choice{kernel}](Stream stream, std::span<void* const> o) {
        pointwise_backward_weight(stream, &choice, p, static_cast<const T*>(o[0]),
                                  static_cast<const T*>(o[1]), o[4], static_cast<float*>(o[2]),
                                  timed_norm(norm, o[3]));
      };
    };
    const auto library = norm ? nullptr : offer(PointwisePass::WeightGradient, kType, p);
    return tuner->choose({key<T>("pointwise weight gradient", p) + (norm ? "+norm" : ""),
                          {{kType, p.m * p.c},
                           {kType, p.m * p.k},
                           {StorageType::F32, p.k * p.c},
                           {StorageType::F32, p.c}}},
                         own, library, start);
  }
}

template <class T>
void pointwise_forward(Stream stream, const Choice* choice, const PointwiseProblem& p, const T* x,
                       const T* w, const Epilogue<T, float>& epilogue, void* scratch, T* y,
                       const NormOnLoad& norm) {
  if (choice == nullptr) return pointwise_forward(stream, p, x, w, epilogue, y, norm);
  if constexpr (!std::is_same_v<T, float>) {
    const Variant& variant = choice->kernel.variant;
    if (const auto* config = std::get_if<PointwiseConfig>(&variant))
      return pointwise_forward(stream, *config, p, x, w, epilogue, y, norm);
    library_of(*choice, norm).run(stream, x, w, Write::Overwrite, y, scratch);
  }
}

template <class T>
void pointwise_backward_data(Stream stream, const Choice* choice, const PointwiseProblem& p,
                             const T* dy, const T* w, Write write, void* scratch, T* dx) {
  if (choice == nullptr) return pointwise_backward_data(stream, p, dy, w, write, dx);
  if constexpr (!std::is_same_v<T, float>) {
    const Variant& variant = choice->kernel.variant;
    if (const auto* config = std::get_if<PointwiseConfig>(&variant))
      return pointwise_backward_data(stream, *config, p, dy, w, write, dx);
    std::get<Library>(variant)->run(stream, dy, w, write, dx, scratch);
  }
}

template <class T>
void pointwise_backward_weight(Stream stream, const Choice* choice, const PointwiseProblem& p,
                               const T* x, const T* dy, void* scratch, float* dw,
                               const NormOnLoad& norm) {
  auto* const partial = static_cast<float*>(scratch);
  if (choice == nullptr) return pointwise_backward_weight(stream, p, x, dy, partial, dw, norm);
  if constexpr (!std::is_same_v<T, float>) {
    const Variant& variant = choice->kernel.variant;
    if (const auto* config = std::get_if<PointwiseWeightConfig>(&variant))
      return pointwise_backward_weight(stream, *config, p, x, dy, partial, dw, norm);
    library_of(*choice, norm).run(stream, x, dy, Write::Overwrite, dw, scratch);
  }
}

#define DF_INSTANTIATE(T)                                                                         \
  template ChoicePtr choose_pointwise_forward<T>(Tuner*, const PointwiseProblem&,                 \
                                                 const EpilogueForm&, bool);                      \
  template ChoicePtr choose_pointwise_backward_data<T>(Tuner*, const PointwiseProblem&);          \
  template ChoicePtr choose_pointwise_backward_weight<T>(Tuner*, const PointwiseProblem&, bool);  \
  template void pointwise_forward(Stream, const Choice*, const PointwiseProblem&, const T*,       \
                                  const T*, const Epilogue<T, float>&, void*, T*,                 \
                                  const NormOnLoad&);                                             \
  template void pointwise_backward_data(Stream, const Choice*, const PointwiseProblem&, const T*, \
                                        const T*, Write, void*, T*);                              \
  template void pointwise_backward_weight(Stream, const Choice*, const PointwiseProblem&,         \
                                          const T*, const T*, void*, float*, const NormOnLoad&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
