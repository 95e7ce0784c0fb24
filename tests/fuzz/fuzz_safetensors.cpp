// libFuzzer target for the safetensors reader; tests/fuzz.sh builds and runs it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "kernels/base/error.h"
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

// Any file gives a TensorFile or an Error; what was read can be written and read again unchanged.
void check(std::span<const std::byte> bytes) {
  TensorFile file;
  try {
    file = dfengine::weights::parse_safetensors(bytes, "fuzz");
  } catch (const dfengine::Error&) {
    return;
  }
  // Outside the try: an Error here is a fault of ours.
  const auto written = dfengine::weights::serialize_safetensors(file, file.metadata);
  if (!same(file, dfengine::weights::parse_safetensors(written, "again"))) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  check(bytes);
  // Most mutations move the end of the header. With the length set to the last brace the inputs
  // reach the checks behind the JSON parser.
  const auto brace = std::ranges::find(bytes.rbegin(), bytes.rend(), std::byte{'}'}).base();
  const auto end = static_cast<std::uint64_t>(brace - bytes.begin());
  if (end <= sizeof(std::uint64_t)) return 0;
  std::vector<std::byte> repaired(bytes.begin(), bytes.end());
  const std::uint64_t length = end - sizeof(std::uint64_t);
  std::memcpy(repaired.data(), &length, sizeof(length));
  check(repaired);
  return 0;
}
