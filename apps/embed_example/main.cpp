// The least a program of yours needs to classify pictures: link libdfengine.a (CMake:
// dfengine_lib). Usage: embed_example MODEL.safetensors PICTURE...
#include <cstdint>
#include <cstdio>
#include <vector>

#include "engine/data/pictures/prepare.h"
#include "engine/model/predictor.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "kernels/base/error.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: embed_example MODEL.safetensors PICTURE...\n");
    return 2;
  }
  try {
    const dfengine::Model model = dfengine::load_detector(argv[1]);
    dfengine::ThreadPool pool(dfengine::ThreadPool::available());
    const dfengine::CpuBackend backend(pool);
    dfengine::Predictor predictor(model, backend, dfengine::Predictor::Output::Logits);
    dfengine::Preparer preparer(model.preparation());
    const dfengine::Index size = predictor.input_size();
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(size * size * 3));
    for (int i = 2; i < argc; ++i) {
      preparer.prepare(argv[i], pixels.data());
      float logit = 0;
      predictor.run(pixels.data(), 1, &logit);
      std::printf("%.6f %s\n", model.probability(logit), argv[i]);
    }
  } catch (const dfengine::Error& e) {
    std::fprintf(stderr, "embed_example: %s\n", e.what());
    return 1;
  }
  return 0;
}
