#include "weights/families/source.h"

#include "weights/families/source_hf.h"
#include "weights/families/source_timm.h"
#include "weights/keras/source_keras.h"
#include "weights/onnx/source_onnx.h"

namespace dfengine::weights {
namespace {

bool any(const TensorFile&) {
  return true;
}

TensorFile unchanged(TensorFile file, const std::string&) {
  return file;
}

constexpr Source kSources[] = {
    {"timm", is_timm, timm_to_torchvision},
    {"hf", is_hf, hf_to_torchvision},
    {"keras", recognise_keras, translate_keras},
    {"onnx", is_onnx, onnx_to_torchvision},
    {"torchvision", any, unchanged},  // the engine's own conventions; unknown names end here too
};

}  // namespace

std::span<const Source> sources() {
  return kSources;
}

TensorFile to_torchvision(TensorFile file, const std::string& name_for_errors) {
  for (const Source& source : kSources) {
    if (!source.recognise(file)) continue;
    TensorFile translated = source.translate(std::move(file), name_for_errors);
    // A file with "arch" is dfengine's own: it says where it came from, or came from nowhere.
    if (!translated.metadata.contains("arch"))
      translated.metadata.emplace("source_family", source.family);
    return translated;
  }
  return file;
}

}  // namespace dfengine::weights
