#include "weights/families/source.h"

#include <algorithm>
#include <utility>

#include "weights/families/source_hf.h"
#include "weights/families/source_timm.h"
#include "weights/keras/source_keras.h"
#include "weights/onnx/source_onnx.h"

namespace dfengine::weights {
namespace {

// In the order in which they are tried. The last row is the engine's own family: files of unknown
// names end there too, and the model loader lists what does not fit.
constexpr Source kSources[] = {
    {"timm", is_timm, timm_to_torchvision},
    {"hf", is_hf, hf_to_torchvision},
    {"keras", recognise_keras,
     [](TensorFile file, std::span<const Stage>, const std::string& name) {
       return translate_keras(std::move(file), name);
     }},
    {"onnx", is_onnx, onnx_to_torchvision},
    {"torchvision", [](const TensorFile&) { return true; },
     [](TensorFile file, std::span<const Stage>, const std::string&) { return file; }},
};

}  // namespace

TensorFile to_torchvision(TensorFile file, std::span<const Stage> stages,
                          const std::string& name_for_errors) {
  const Source& source =
      *std::ranges::find_if(kSources, [&](const Source& row) { return row.recognise(file); });
  TensorFile translated = source.translate(std::move(file), stages, name_for_errors);
  // A file with "arch" is dfengine's own: it says where it came from, or came from nowhere.
  if (!translated.metadata.contains("arch"))
    translated.metadata.emplace("source_family", source.family);
  return translated;
}

}  // namespace dfengine::weights
