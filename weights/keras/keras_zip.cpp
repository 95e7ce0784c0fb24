#include "weights/keras/keras_zip.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "weights/hdf5/hdf5_file.h"
#include "weights/json_extent.h"

namespace dfengine::weights {
namespace {

constexpr const char* kWeights = "model.weights.h5";
constexpr const char* kConfig = "config.json";
constexpr const char* kMetadata = "metadata.json";

std::string version_in(const std::string& metadata) {
  constexpr std::size_t kMaxDepth = 16;  // no entry of Keras' is nested
  if (json_extent(metadata).depth > kMaxDepth) return "";
  const auto json = nlohmann::json::parse(metadata, nullptr, false);
  const auto found = json.is_object() ? json.find("keras_version") : json.end();
  if (found == json.end() || !found->is_string()) return "";
  return printable(found->get<std::string>());
}

}  // namespace

bool is_keras_zip(const ZipArchive& archive) {
  return archive.holds(kWeights);
}

TensorFile parse_keras_zip(ZipArchive& archive) {
  const auto weights = archive.read(kWeights);
  TensorFile out = parse_hdf5(weights, fmt::format("{}: {}", archive.file_name(), kWeights));
  const auto add = [&](const char* key, std::string text) {
    if (!text.empty()) out.metadata[key] = std::move(text);
  };
  add("@model_config", archive.read_text(kConfig));
  add("@keras_version", version_in(archive.read_text(kMetadata)));
  return out;
}

}  // namespace dfengine::weights
