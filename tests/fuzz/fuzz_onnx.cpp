// libFuzzer target for the ONNX reader and its family; tests/fuzz.sh builds and runs it.
#include <span>

#include "kernels/base/error.h"
#include "weights/families/source.h"
#include "weights/onnx/onnx_file.h"

// Any file gives tensors under torchvision's names or an Error.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  try {
    dfengine::weights::to_torchvision(
        dfengine::weights::parse_onnx(std::as_bytes(std::span(data, size)), "fuzz"), "fuzz");
  } catch (const dfengine::Error&) {
  }
  return 0;
}
