// libFuzzer target for the state and options of a checkpoint; tests/fuzz.sh builds and runs it.
#include <vector>

#include "engine/train/checkpoint.h"
#include "engine/train/options.h"
#include "kernels/base/error.h"
#include "tests/fuzz/entries.h"

namespace {

using namespace dfengine;

// A sound checkpoint of the smallest network.
weights::TensorFile sound() {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = 96;
  config.hidden = 1;
  const Model model = make_model(config, 1);
  const auto learned = static_cast<std::size_t>(model.parameters.learned_count());
  return checkpoint_to_tensors(model, {std::vector<float>(learned), std::vector<float>(learned)},
                               {}, {}, {}, "digest");
}

}  // namespace

// Each line of the input is a metadata entry, which takes the place of the checkpoint's own.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static const weights::TensorFile whole = sound();
  weights::TensorFile file = whole;
  for (auto& [name, text] : fuzz::entries_of({reinterpret_cast<const char*>(data), size}))
    file.metadata[name] = text;
  try {
    checkpoint_from_tensors(std::move(file), "fuzz");
  } catch (const ModelFileError&) {
  }
  return 0;
}
