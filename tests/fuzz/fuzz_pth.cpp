// libFuzzer target for PyTorch files, legacy and zip; tests/fuzz.sh builds and runs it.
#include <cstddef>
#include <cstdlib>
#include <span>

#include "kernels/base/error.h"
#include "weights/tensor_file.h"
#include "weights/torch/torch_file.h"
#include "weights/zip_archive.h"

namespace {

using dfengine::weights::Tensor;
using dfengine::weights::TensorFile;

TensorFile parse(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes[0] != std::byte{'P'}) {
    return dfengine::weights::parse_torch_legacy(bytes, "fuzz");
  }
  dfengine::weights::ZipArchive archive(bytes, "fuzz");
  return dfengine::weights::parse_torch_zip(archive);
}

}  // namespace

// Any file gives dense tensors or an Error.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  TensorFile file;
  try {
    file = parse(std::as_bytes(std::span(data, size)));
  } catch (const dfengine::Error&) {
    return 0;
  }
  if (file.tensors.empty()) std::abort();
  for (const Tensor& tensor : file.tensors) {
    const auto count = static_cast<std::size_t>(tensor.count());
    if (tensor.bytes.size() != count * dtype_size(tensor.dtype)) std::abort();
  }
  return 0;
}
