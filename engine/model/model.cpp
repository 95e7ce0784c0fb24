#include "engine/model/model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/model/model_fit.h"
#include "kernels/base/error.h"
#include "weights/families/source.h"
#include "weights/pretrained.h"
#include "weights/read_file.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

std::vector<float> values_of(const weights::Tensor& t, const std::string& file) {
  try {
    return weights::to_float(t);
  } catch (const ModelFileError& e) {
    throw ModelFileError(file + ": " + e.what());
  }
}

}  // namespace

Model make_model(const MobileNetV2Config& config, std::uint64_t seed) {
  config.validate();
  Model model{config, ParameterStore(make_mobilenet_v2(config).params(), Element::F32, seed)};
  return model;
}

Model model_from_tensors(const weights::TensorFile& file, const std::string& name) {
  ModelFit fit = fit_model(file, name);
  if (!fit.complete()) throw ModelFileError(name + ": does not fit MobileNetV2:" + fit.faults());
  ModelMetadata& meta = fit.metadata;
  const MobileNetV2Config& config = meta.config;

  Model model = make_model(config, 0);
  model.crop = meta.crop;
  model.resize = meta.resize;
  model.classes = meta.classes;
  if (config.head == Head::Detector && model.classes.empty()) model.classes = {"real", "fake"};
  if (!meta.positive_class.empty()) model.positive_class = meta.positive_class;
  model.temperature = meta.temperature;
  model.threshold = meta.threshold;
  model.notes = std::move(meta.notes);
  for (const weights::Tensor& t : file.tensors) {
    const int i = model.parameters.find(t.name);
    if (i >= 0) model.parameters.set(i, std::span<const float>(values_of(t, name)));
  }
  return model;
}

Model load_model(const std::filesystem::path& path) {
  const std::filesystem::path file = weights::find_weights(path);
  const std::string name = file.string();
  return model_from_tensors(weights::to_torchvision(weights::read_tensor_file(file), name), name);
}

Model load_detector(const std::filesystem::path& path) {
  Model model = load_model(path);
  const std::string name = path.string();
  if (model.config.head != Head::Detector)
    throw ModelFileError(name + ": not a detector (no head.fc1, head.fc2): train one first");
  if (model.classes.size() != 2 || model.classes[1] != model.positive_class)
    throw ModelFileError(name + ": a detector has two classes, the second positive");
  if (!(model.threshold >= 0 && model.threshold <= 1))
    throw ModelFileError(fmt::format("{}: threshold {} is not in [0, 1]", name, model.threshold));
  if (!(model.temperature > 0 && std::isfinite(model.temperature)))
    throw ModelFileError(
        fmt::format("{}: temperature {} is not positive", name, model.temperature));
  return model;
}

weights::TensorFile model_to_tensors(const Model& model) {
  weights::TensorFile file;
  file.metadata = write_metadata(model);
  // The network's order, not memory's: the file reads as torchvision's does.
  for (const ParamSpec& p : make_mobilenet_v2(model.config).params())
    file.tensors.push_back(weights::make_tensor(
        p.name, p.file_shape,
        std::span<const float>(model.parameters.get(model.parameters.find(p.name)))));
  return file;
}

void save_model(const std::filesystem::path& path, const Model& model) {
  weights::write_safetensors(path, model_to_tensors(model));
}

Model with_head(const Model& model, const MobileNetV2Config& config, std::uint64_t seed) {
  if (model.config.width != config.width)
    throw UsageError(fmt::format("the weights have width {}, {} was asked for", model.config.width,
                                 config.width));
  Model result = make_model(config, seed);
  for (std::size_t i = 0; i < result.parameters.specs().size(); ++i) {
    const ParamSpec& p = result.parameters.specs()[i];
    const int from = model.parameters.find(p.name);
    if (from < 0 ||
        model.parameters.specs()[static_cast<std::size_t>(from)].file_shape != p.file_shape)
      continue;
    result.parameters.set(static_cast<int>(i), std::span<const float>(model.parameters.get(from)));
  }
  return result;
}

}  // namespace dfengine
