#include "engine/model/model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/half.h"
#include "weights/pretrained.h"
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

// Quantized weights are bytes in the file; nothing else is.
std::vector<float> values_of(const ParamSpec& p, const weights::Tensor& t,
                             const std::string& file) {
  if (p.role != Role::QuantizedWeight) return values_of(t, file);
  if (t.dtype != weights::DType::I8)
    throw ModelFileError(fmt::format("{}: tensor \"{}\" is {}, quantized weights are I8", file,
                                     t.name, weights::dtype_name(t.dtype)));
  std::vector<float> values;
  for (const std::byte b : t.bytes)
    values.push_back(static_cast<float>(static_cast<std::int8_t>(b)));
  return values;
}

// In a quantized model the head's matrices are halves, which it was made to hold (quantize.h).
weights::Tensor tensor_of(const Model& model, const ParamSpec& p) {
  const std::vector<float> values = model.parameters.get(model.parameters.find(p.name));
  const bool half = p.role == Role::Weight && !model.config.quantization.empty();
  if (p.role != Role::QuantizedWeight && !half)
    return weights::make_tensor(p.name, p.file_shape, std::span<const float>(values));
  weights::Tensor t{.name = p.name,
                    .dtype = half ? weights::DType::F16 : weights::DType::I8,
                    .shape = p.file_shape,
                    .bytes = {}};
  for (const float v : values) {
    if (half) {
      const std::uint16_t bits = float_to_f16(v);
      t.bytes.push_back(static_cast<std::byte>(bits & 0xff));
      t.bytes.push_back(static_cast<std::byte>(bits >> 8));
    } else {
      t.bytes.push_back(static_cast<std::byte>(static_cast<std::int8_t>(v)));
    }
  }
  return t;
}

// A file of a run that diverged, or a damaged one.
void check_values(const ParamSpec& of, std::span<const float> values, const std::string& file) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool negative = of.role == Role::RunningVar && values[i] < 0;
    if (of.role == Role::WeightScale && !(values[i] > 0))
      throw ModelFileError(fmt::format("{}: tensor \"{}\": value {} is {}, a scale is positive",
                                       file, of.name, i, values[i]));
    if (std::isfinite(values[i]) && !negative) continue;
    throw ModelFileError(fmt::format(
        "{}: tensor \"{}\": value {} is {}, {}; the run that wrote the file diverged, or the file "
        "is damaged",
        file, of.name, i, values[i], negative ? "a variance below 0" : "not a finite number"));
  }
}

// What the model lacks, and which command would give it.
std::string missing_parts(const Model& model) {
  std::string text;
  if (model.config.head == Head::None)
    text += "missing: a head; it gives pooled features, dfengine train puts a detector's on\n";
  if (model.config.head == Head::Classifier)
    text += "missing: a detector's head; dfengine train puts one in the classifier's place\n";
  if (is_bn_folded(model))
    text +=
        "missing: batch norms, folded into the convolutions; dfengine convert --unfold-bn "
        "estimates them\n";
  return text.empty() ? "missing: nothing\n" : text;
}

}  // namespace

void require_float(const Model& model, const std::string& what) {
  if (!model.config.quantization.empty())
    throw UsageError("a quantized model " + what + " only as the model it was made from");
}

Model make_model(const NetworkConfig& config, std::uint64_t seed,
                 std::span<const Architecture> table) {
  config.validate();
  Network network = make_network(config, table);
  ParameterStore parameters(network.graph.params(), Element::F32, seed);
  return {{.config = config}, std::move(network), std::move(parameters)};
}

Model fill_model(const ModelFit& fit, const weights::TensorFile& file, const std::string& name) {
  if (!fit.complete()) throw ModelFileError(name + ": " + fit.faults());
  std::vector<ParamSpec> params = fit.network.graph.params();
  for (ParamSpec& p : params) p.init = {};  // no value needs to be drawn: the file has them all
  Model model{fit.metadata, fit.network, ParameterStore(std::move(params), Element::F32, 0)};
  for (const weights::Tensor& t : file.tensors) {
    const int i = model.parameters.find(t.name);
    if (i < 0) continue;
    const ParamSpec& p = model.parameters.specs()[static_cast<std::size_t>(i)];
    const std::vector<float> values = values_of(p, t, name);
    check_values(p, values, name);
    model.parameters.set(i, std::span<const float>(values));
  }
  model.remarks = fit.remarks;
  return model;
}

Model model_from_tensors(const weights::TensorFile& file, const std::string& name,
                         std::span<const Architecture> table) {
  return fill_model(fit_model(file, name, table), file, name);
}

Model load_model(const std::filesystem::path& path) {
  const std::filesystem::path file = weights::find_weights(path);
  return model_from_tensors(read_weights(file), file.string());
}

namespace {

void check_detector(const Model& model, const std::string& name) {
  if (model.config.head != Head::Detector)
    throw ModelFileError(
        fmt::format("{}: not a detector (no head.fc1, head.fc2): train one first{}{}", name,
                    model.remarks.empty() ? "" : "\n", fmt::join(model.remarks, "\n")));
  if (model.classes.size() != 2 || model.classes[1] != model.positive_class)
    throw ModelFileError(name + ": a detector has two classes, the second positive");
  if (model.classes[0] == model.classes[1])
    throw ModelFileError(fmt::format("{}: both classes are called '{}'", name, model.classes[0]));
  if (!(model.threshold >= 0 && model.threshold <= 1))
    throw ModelFileError(fmt::format("{}: threshold {} is not in [0, 1]", name, model.threshold));
  if (!(model.temperature > 0 && std::isfinite(model.temperature)))
    throw ModelFileError(
        fmt::format("{}: temperature {} is not positive", name, model.temperature));
}

}  // namespace

Model load_detector(const std::filesystem::path& path) {
  Model model = load_model(path);
  check_detector(model, path.string());
  return model;
}

Model parse_detector(std::span<const std::byte> file, const std::string& name) {
  Model model = model_from_tensors(parse_weights(file, name), name);
  check_detector(model, name);
  return model;
}

void require_number(const std::string& name, double prob) {
  if (std::isnan(prob))
    throw ModelFileError(name +
                         ": its output is not a number: the weights are damaged or diverged");
}

weights::TensorFile model_to_tensors(const Model& model) {
  weights::TensorFile file;
  file.metadata = write_metadata(model);
  // The file has the network's order, as torchvision's has, and not the order in memory.
  for (const ParamSpec& p : model.network.graph.params())
    file.tensors.push_back(tensor_of(model, p));
  return file;
}

void save_model(const std::filesystem::path& path, const Model& model) {
  weights::write_safetensors(path, model_to_tensors(model));
}

std::string describe_model(const Model& model) {
  Index learned = 0, statistics = 0, quantized = 0;
  for (const ParamSpec& p : model.parameters.specs()) {
    const bool integer = p.role == Role::QuantizedWeight || p.role == Role::WeightScale;
    (is_learned(p.role) ? learned : integer ? quantized : statistics) += p.count();
  }
  std::string text = fmt::format("parameters: {} learned, {} running statistics, {} tensors\n",
                                 learned, statistics, model.parameters.specs().size());
  if (quantized > 0)
    text += fmt::format("quantized: {} convolutions in 8-bit integers, {} weights and scales\n",
                        model.config.quantization.size(), quantized);
  for (const auto& [key, value] : write_metadata(model))
    if (key != "engine_version" && key != "quantization")  // of this program; long
      text += fmt::format("{}: {}\n", key, weights::printable(value));
  return text + missing_parts(model);
}

Model with_head(const Model& model, const NetworkConfig& config, std::uint64_t seed) {
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
