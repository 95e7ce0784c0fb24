// libFuzzer target: any bytes give a TensorFile or an Error, and what was read can be written and
// read again unchanged. tests/fuzz.sh builds and runs it.
#include <cstdlib>

#include "kernels/error.h"
#include "weights/safetensors.h"

namespace {

using dfengine::weights::TensorFile;

bool same(const TensorFile& a, const TensorFile& b) {
  if (a.metadata != b.metadata || a.tensors.size() != b.tensors.size()) return false;
  for (const auto& tensor : a.tensors) {
    const auto* other = b.find(tensor.name);
    if (other == nullptr || other->dtype != tensor.dtype || other->shape != tensor.shape ||
        other->bytes != tensor.bytes) {
      return false;
    }
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  TensorFile file;
  try {
    file = dfengine::weights::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
  } catch (const dfengine::Error&) {
    return 0;
  }
  // Outside the try: an Error here is a fault of ours.
  const auto bytes = dfengine::weights::serialize_safetensors(file);
  if (!same(file, dfengine::weights::parse_safetensors(bytes, "again"))) std::abort();
  return 0;
}
