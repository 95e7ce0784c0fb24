#include "engine/model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/model_metadata.h"
#include "kernels/error.h"
#include "weights/read_file.h"
#include "weights/safetensors.h"
#include "weights/source.h"

namespace dfengine {
namespace {

// Counters that PyTorch keeps beside its batch norms; the engine has no use for them.
bool is_counter(std::string_view name) {
  return name.ends_with("num_batches_tracked");
}

// Rows of a dense layer's weight; unchanged where it cannot be one, which compare() then reports.
void take_rows(const weights::Tensor* weight, Index& rows) {
  if (weight != nullptr && weight->shape.size() == 2 && weight->shape[0] > 0)
    rows = weight->shape[0];
}

// The head's kind, where the metadata does not say it, and its sizes, told by the file's tensors.
void detect_head(const weights::TensorFile& file, bool known, MobileNetV2Config& config) {
  const weights::Tensor* detector = file.find("head.fc1.weight");
  const weights::Tensor* classifier = file.find("classifier.1.weight");
  if (!known) config.head = detector ? Head::Detector : classifier ? Head::Classifier : Head::None;
  take_rows(detector, config.hidden);
  take_rows(classifier, config.classes);
}

// How many base tensors of a width agree in shape with the file's.
int matching_shapes(const weights::TensorFile& file, MobileNetV2Config config) {
  config.head = Head::None;
  int matches = 0;
  for (const ParamSpec& p : make_mobilenet_v2(config).params()) {
    const weights::Tensor* t = file.find(p.name);
    if (t != nullptr && t->shape == p.file_shape) ++matches;
  }
  return matches;
}

// Published widths are multiples of 0.05. Several may round to the same channels: the smallest of
// the best is taken, and 1 where all agree.
double infer_width(const weights::TensorFile& file, const MobileNetV2Config& config) {
  MobileNetV2Config candidate = config;
  candidate.width = 1.0;
  double best = candidate.width;
  int most = matching_shapes(file, candidate);
  for (int i = 1; i <= 40; ++i) {
    candidate.width = i / 20.0;
    const int matches = matching_shapes(file, candidate);
    if (matches > most) {
      most = matches;
      best = candidate.width;
    }
  }
  return best;
}

struct Findings {
  std::vector<std::string> missing, unexpected, misshaped;

  void raise(const std::string& file) const {
    if (missing.empty() && unexpected.empty() && misshaped.empty()) return;
    std::string text = file + ": does not fit MobileNetV2";
    const auto list = [&](const char* what, const std::vector<std::string>& names) {
      if (!names.empty())
        text += fmt::format("\n  {} {}: {}", names.size(), what, fmt::join(names, ", "));
    };
    list("missing", missing);
    list("unexpected", unexpected);
    list("misshaped", misshaped);
    throw ModelFileError(text);
  }
};

Findings compare(const weights::TensorFile& file, const std::vector<ParamSpec>& specs) {
  Findings f;
  for (const ParamSpec& p : specs) {
    const weights::Tensor* t = file.find(p.name);
    if (t == nullptr) {
      f.missing.push_back(p.name);
    } else if (t->shape != p.file_shape) {
      f.misshaped.push_back(fmt::format("{} [{}], expected [{}]", p.name, fmt::join(t->shape, ", "),
                                        fmt::join(p.file_shape, ", ")));
    }
  }
  for (const weights::Tensor& t : file.tensors) {
    const bool known =
        std::ranges::any_of(specs, [&](const ParamSpec& p) { return p.name == t.name; });
    if (!known && !is_counter(t.name)) f.unexpected.push_back(weights::printable(t.name));
  }
  return f;
}

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
  ModelMetadata meta = read_metadata(file.metadata, name);
  MobileNetV2Config& config = meta.config;
  detect_head(file, meta.has_head, config);
  if (!meta.has_width) config.width = infer_width(file, config);
  const std::vector<ParamSpec> specs = make_mobilenet_v2(config).params();
  compare(file, specs).raise(name);

  Model model = make_model(config, 0);
  model.crop = meta.crop;
  model.resize = meta.resize;
  model.classes = meta.classes;
  if (config.head == Head::Detector && model.classes.empty()) model.classes = {"real", "fake"};
  if (!meta.positive_class.empty()) model.positive_class = meta.positive_class;
  model.threshold = meta.threshold;
  model.notes = std::move(meta.notes);
  for (const weights::Tensor& t : file.tensors) {
    const int i = model.parameters.find(t.name);
    if (i >= 0) model.parameters.set(i, std::span<const float>(values_of(t, name)));
  }
  return model;
}

Model load_model(const std::filesystem::path& path) {
  const std::string name = path.string();
  return model_from_tensors(weights::to_torchvision(weights::read_tensor_file(path), name), name);
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
