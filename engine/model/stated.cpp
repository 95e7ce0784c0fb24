#include "engine/model/stated.h"

#include <string>

#include "engine/model/model_metadata.h"
#include "kernels/base/error.h"
#include "weights/families/source.h"

namespace dfengine {
namespace {

// A statement takes the place of the translation's line that begins so.
void forget_assumption(weights::TensorFile& file, std::string_view beginning) {
  const auto entry = file.metadata.find(weights::kAssumed);
  if (entry == file.metadata.end()) return;
  std::string rest;
  for (const std::string_view other : weights::lines_of(entry->second))
    if (!other.starts_with(beginning)) rest += std::string(other) + "\n";
  entry->second = rest;
}

void negate(weights::TensorFile& file, const char* name) {
  for (weights::Tensor& tensor : file.tensors) {
    if (tensor.name != name) continue;
    std::vector<float> values = weights::to_float(tensor);
    for (float& v : values) v = -v;
    tensor = weights::make_tensor(name, tensor.shape, std::span<const float>(values));
  }
}

void set_pixels(weights::TensorFile& file, PixelRange pixels) {
  NetworkConfig config;  // ImageNet's
  if (pixels == PixelRange::MinusOneOne) config.mean = config.std_dev = {0.5, 0.5, 0.5};
  if (pixels == PixelRange::ZeroOne || pixels == PixelRange::Raw) config.mean = {0, 0, 0};
  if (pixels == PixelRange::ZeroOne) config.std_dev = {1, 1, 1};
  if (pixels == PixelRange::Raw) config.std_dev = {1 / 255.0, 1 / 255.0, 1 / 255.0};
  const auto entries = write_metadata({.config = config});
  for (const char* key : {"mean", "std"}) file.metadata[key] = entries.at(key);
  forget_assumption(file, weights::kAssumedPixels);
}

}  // namespace

void apply_stated(weights::TensorFile& file, const Stated& stated) {
  if (!stated.label_one && !stated.pixels && !stated.img_size && !stated.resize && !stated.crop)
    return;
  if (weights::is_ours(file))
    throw UsageError(
        "--label-positive, --pixels, --img-size, --resize and --crop are for files that are not "
        "dfengine's: "
        "this one says all of it itself");
  if (stated.label_one) {
    if (file.find("head.fc2.weight") == nullptr)
      throw UsageError("--label-positive is for a detector, which this file is not");
    if (*stated.label_one == LabelOne::Real)
      for (const char* name : {"head.fc2.weight", "head.fc2.bias"}) negate(file, name);
    forget_assumption(file, weights::kAssumedLabel);
  }
  if (stated.pixels) set_pixels(file, *stated.pixels);
  if (stated.img_size) {
    file.metadata["input_size"] = std::to_string(*stated.img_size);
    forget_assumption(file, weights::kAssumedSize);
  }
  ModelMetadata how;
  how.resize = stated.resize.value_or(how.resize);
  how.crop = stated.crop.value_or(how.crop);
  const auto entries = write_metadata(how);
  if (stated.resize) file.metadata["resize"] = entries.at("resize");
  if (stated.crop) file.metadata["crop"] = entries.at("crop");
}

}  // namespace dfengine
