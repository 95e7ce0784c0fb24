// libFuzzer target for the ONNX reader and its family; tests/fuzz.sh builds and runs it.
#include <span>
#include <vector>

#include "kernels/base/error.h"
#include "layers/networks/mobilenet_v2.h"
#include "weights/families/source.h"
#include "weights/onnx/onnx_file.h"

// Any file gives tensors under torchvision's names or an Error.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::vector<dfengine::weights::Stage> stages;
  for (const auto& stage : dfengine::kMobileNetV2Stages)
    stages.push_back({static_cast<int>(stage.expand), static_cast<int>(stage.repeats),
                      static_cast<int>(stage.stride)});
  try {
    dfengine::weights::to_torchvision(
        dfengine::weights::parse_onnx(std::as_bytes(std::span(data, size)), "fuzz",
                                      dfengine::weights::nothing_beside),
        stages, "fuzz");
  } catch (const dfengine::Error&) {
  }
  return 0;
}
