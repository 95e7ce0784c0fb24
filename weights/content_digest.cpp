#include "weights/content_digest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "kernels/base/checksum.h"
#include "kernels/base/error.h"

namespace dfengine::weights {

std::string content_digest(const TensorFile& file) {
  std::vector<const Tensor*> tensors;
  for (const Tensor& tensor : file.tensors) tensors.push_back(&tensor);
  std::ranges::sort(tensors, {}, &Tensor::name);
  std::string text;
  // With its length, so that no two lists of texts are one.
  const auto add = [&text](std::string_view part) {
    text += fmt::format("{}:{}", part.size(), part);
  };
  for (const auto& [key, value] : file.metadata) {
    if (key == kDigestEntry) continue;
    add(key);
    add(value);
  }
  for (const Tensor* tensor : tensors) {
    add(tensor->name);
    add(fmt::format("{} {} {:016x}", dtype_name(tensor->dtype), fmt::join(tensor->shape, ","),
                    checksum(tensor->bytes)));
  }
  return fmt::format("{:016x}", checksum(text));
}

void check_digest(TensorFile& file, const std::string& name_for_errors) {
  const auto entry = file.metadata.find(kDigestEntry);
  if (entry == file.metadata.end()) return;
  if (entry->second != content_digest(file)) {
    throw ModelFileError(
        fmt::format("{}: damaged: its content is not what was written (digest); restore it from a "
                    "copy. A tool that changes such a file must drop its metadata entry {}",
                    name_for_errors, kDigestEntry));
  }
  file.metadata.erase(entry);
  file.has_digest = true;
}

}  // namespace dfengine::weights
