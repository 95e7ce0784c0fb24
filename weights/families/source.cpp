#include "weights/families/source.h"

#include <algorithm>
#include <utility>

namespace dfengine::weights {
namespace {

// In the order in which they are tried. The last takes files of unknown names too, so that the
// model loader lists what does not fit.
#if DFENGINE_MINIMAL
constexpr const Source* kSources[] = {&kNames};
#else
constexpr const Source* kSources[] = {&kKeras, &kOnnx, &kNames};
#endif

}  // namespace

bool is_ours(const TensorFile& file) {
  return file.metadata.contains("arch") && file.metadata.contains("engine_version");
}

TensorFile to_torchvision(TensorFile file, std::span<const Stage> stages,
                          const std::string& name_for_errors) {
  const Source& source =
      **std::ranges::find_if(kSources, [&](const Source* row) { return row->recognise(file); });
  TensorFile translated = source.translate(std::move(file), stages, name_for_errors);
  if (!is_ours(translated)) translated.metadata.emplace("source_family", source.family);
  return translated;
}

}  // namespace dfengine::weights
