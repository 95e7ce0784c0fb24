// Names, layouts and conventions of Keras' MobileNetV2 (keras/applications/mobilenet_v2.py).
#include "weights/keras/source_keras.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/numbers.h"
#include "weights/families/other_networks.h"
#include "weights/families/source.h"
#include "weights/keras/keras_arrays.h"
#include "weights/keras/keras_head.h"

namespace dfengine::weights {
namespace {

// What a role is in torchvision: the kind of layer, the suffix, and Keras' axes in torch's order.
struct RolePattern {
  KerasRole role;
  KerasLayer kind;
  const char* suffix;
  std::size_t rank;
  std::array<std::size_t, 4> axes;
};
constexpr RolePattern kRoles[] = {
    {KerasRole::ConvKernel, KerasLayer::Conv, ".weight", 4, {3, 2, 0, 1}},
    {KerasRole::DepthwiseKernel, KerasLayer::Depthwise, ".weight", 4, {2, 3, 0, 1}},
    {KerasRole::DenseKernel, KerasLayer::Dense, ".weight", 2, {1, 0, 0, 0}},
    {KerasRole::DenseBias, KerasLayer::Dense, ".bias", 1, {0, 0, 0, 0}},
    {KerasRole::Gamma, KerasLayer::Norm, ".weight", 1, {0, 0, 0, 0}},
    {KerasRole::Beta, KerasLayer::Norm, ".bias", 1, {0, 0, 0, 0}},
    {KerasRole::Mean, KerasLayer::Norm, ".running_mean", 1, {0, 0, 0, 0}},
    {KerasRole::Variance, KerasLayer::Norm, ".running_var", 1, {0, 0, 0, 0}},
};

const RolePattern& pattern_of(KerasRole role) {
  return *std::ranges::find(kRoles, role, &RolePattern::role);
}

// A convolution and its batch norm.
void add_rows(const ConvPlace& place, std::vector<KerasRow>& rows) {
  const auto add = [&, torch = torchvision_names(place)](
                       const std::string& conv, const std::string& norm,
                       const std::string& stock_conv, const std::string& stock_norm) {
    const bool depthwise = place.role == ConvRole::Depthwise;
    rows.push_back(
        {depthwise ? KerasLayer::Depthwise : KerasLayer::Conv, torch.conv, conv, stock_conv});
    rows.push_back({KerasLayer::Norm, torch.norm, norm, stock_norm});
  };
  if (place.role == ConvRole::Stem) return add("Conv1", "bn_Conv1", "Conv1", "bn_Conv1");
  if (place.role == ConvRole::Head) return add("Conv_1", "Conv_1_bn", "Conv_1", "Conv_1_bn");
  const std::string part = place.role == ConvRole::Expand      ? "expand"
                           : place.role == ConvRole::Depthwise ? "depthwise"
                                                               : "project";
  const std::string conv =
      (place.block == 0 ? "expanded_conv_" : fmt::format("block_{}_", place.block)) + part;
  add(conv, conv + "_BN", fmt::format("mobl{0}_conv_{0}_{1}", place.block, part),
      fmt::format("bn{0}_conv_{0}_bn_{1}", place.block, part));
}

std::vector<KerasRow> make_rows() {
  constexpr Stage kBlocks[] = {{.expand = 1}, {.repeats = 16}};
  std::vector<KerasRow> rows;
  for (const ConvPlace& place : conv_places(kBlocks)) add_rows(place, rows);
  rows.push_back({KerasLayer::Dense, "classifier.1", "predictions", "Logits"});
  return rows;
}

bool is_base(KerasRole role) {
  return role != KerasRole::Other && pattern_of(role).kind != KerasLayer::Dense;
}

const KerasRow* row_named(std::string_view layer, KerasLayer kind) {
  const auto rows = keras_rows();
  const auto found = std::ranges::find_if(rows, [&](const KerasRow& row) {
    return row.kind == kind && (row.keras == layer || row.stock == layer);
  });
  return found == rows.end() ? nullptr : &*found;
}

// The row of each array; null for an array that is not the base's.
using Matches = std::vector<const KerasRow*>;

Matches match_by_name(const std::vector<KerasArray>& arrays) {
  Matches matches;
  for (const KerasArray& a : arrays)
    matches.push_back(is_base(a.role) ? row_named(a.layer, pattern_of(a.role).kind) : nullptr);
  return matches;
}

// The path of the model that a layer belongs to, in a file of Keras 3; "" in others, where one
// layer's arrays lie below another's.
std::string_view model_of(const KerasArray& array) {
  const std::string_view folder = array.folder;
  return array.numbered ? folder.substr(0, folder.rfind("layers/")) : std::string_view();
}

// The n-th array of a role belongs to the n-th row of its kind, within the model that holds the
// first depthwise convolution. What is left over follows the base.
Matches match_by_order(const std::vector<KerasArray>& arrays, const std::string& looks_like,
                       const std::string& file) {
  Matches matches(arrays.size());
  const auto first = std::ranges::find(arrays, KerasRole::DepthwiseKernel, &KerasArray::role);
  const std::string_view model = first == arrays.end() ? "" : model_of(*first);
  for (const RolePattern& pattern : kRoles) {
    if (!is_base(pattern.role)) continue;
    std::vector<const KerasRow*> rows;
    for (const KerasRow& row : keras_rows())
      if (row.kind == pattern.kind) rows.push_back(&row);
    std::vector<std::size_t> members;
    for (std::size_t i = 0; i < arrays.size(); ++i)
      if (arrays[i].role == pattern.role && model_of(arrays[i]) == model) members.push_back(i);
    if (members.size() < rows.size()) {
      throw ModelFileError(
          fmt::format("{}: Keras: no layer has a name of MobileNetV2's, and by order {} arrays "
                      "cannot be its {} \"{}\"{}{}",
                      file, members.size(), rows.size(), role_name(pattern.role),
                      looks_like.empty() ? "" : "; it looks like ", looks_like));
    }
    for (std::size_t i = 0; i < rows.size(); ++i) matches[members[i]] = rows[i];
  }
  return matches;
}

Matches match(const std::vector<KerasArray>& arrays, const std::string& looks_like,
              const std::string& file) {
  Matches by_name = match_by_name(arrays);
  const bool named =
      std::ranges::any_of(by_name, [](const KerasRow* row) { return row != nullptr; });
  return named ? by_name : match_by_order(arrays, looks_like, file);
}

Tensor to_torch(Tensor tensor, const KerasRow& row, KerasRole role, const std::string& file) {
  const RolePattern& p = pattern_of(role);
  const auto count = checked_count(tensor.shape);
  if (tensor.shape.size() != p.rank || !count ||
      tensor.bytes.size() != static_cast<std::size_t>(*count) * dtype_size(tensor.dtype)) {
    throw ModelFileError(fmt::format("{}: Keras: \"{}\" has shape [{}], {} needs {} axes", file,
                                     printable(tensor.name), fmt::join(tensor.shape, ", "),
                                     role_name(role), p.rank));
  }
  if (p.rank > 1) tensor = transposed(tensor, std::span(p.axes).first(p.rank));
  tensor.name = row.torch + p.suffix;
  return tensor;
}

// Each layer must take the channels that the one before it gives, and have the paper's window.
// Returns the channels of the last.
std::int64_t check_chain(const TensorFile& file, const std::string& name) {
  std::int64_t channels = 3;
  const auto check = [&](const std::string& tensor, const std::vector<std::int64_t>& wanted) {
    const Tensor* t = file.find(tensor);
    if (t == nullptr || t->shape == wanted) return;  // the model loader lists what is missing
    throw ModelFileError(fmt::format(
        "{}: Keras: {} has shape [{}], the layers before it call for [{}]; not MobileNetV2 as "
        "published",
        name, tensor, fmt::join(t->shape, ", "), fmt::join(wanted, ", ")));
  };
  for (const KerasRow& row : keras_rows()) {
    const Tensor* weight = file.find(row.torch + ".weight");
    const std::int64_t out = weight == nullptr ? channels : weight->shape[0];
    const std::int64_t window = row.keras == "Conv1" ? 3 : 1;
    switch (row.kind) {
      case KerasLayer::Conv:
        check(row.torch + ".weight", {out, channels, window, window});
        if (weight == nullptr) return 0;
        channels = out;
        break;
      case KerasLayer::Depthwise:
        check(row.torch + ".weight", {channels, 1, 3, 3});
        break;
      case KerasLayer::Norm:
        for (const char* suffix : {".weight", ".bias", ".running_mean", ".running_var"})
          check(row.torch + suffix, {channels});
        break;
      case KerasLayer::Dense:
        break;  // heads differ, see keras_head.h
    }
  }
  return channels;
}

// The side in the name that Keras gives the network where it is one layer of another model:
// mobilenetv2_1.00_160.
std::optional<int> side_in_name(const std::vector<Tensor>& tensors) {
  constexpr std::string_view kName = "mobilenetv2_";
  for (const Tensor& t : tensors) {
    const std::size_t name = t.name.find(kName);
    if (name == std::string::npos) continue;
    const std::size_t size = t.name.find('_', name + kName.size());
    if (size == std::string::npos) continue;
    const std::size_t slash = t.name.find('/', size);
    if (slash == std::string::npos) continue;
    if (const auto side =
            number_of<int>(std::string_view(t.name).substr(size + 1, slash - size - 1)))
      return side;
  }
  return std::nullopt;
}

// Replaces Keras' raw entries by those of the engine.
void keep_version(std::map<std::string, std::string>& metadata) {
  for (const char* key : {"@keras_version", "model_weights@keras_version"}) {
    const auto version = metadata.find(key);
    if (version != metadata.end() && !version->second.empty())
      metadata.emplace("keras_version", version->second);
  }
  std::erase_if(metadata, [](const auto& e) { return e.first.find('@') != std::string::npos; });
}

std::vector<KerasConfigLayer> configured_layers(const TensorFile& file) {
  const auto config = file.metadata.find("@model_config");
  return config == file.metadata.end() ? std::vector<KerasConfigLayer>()
                                       : keras_config_layers(config->second);
}

// Values from 0 to 255 times factor plus shift are (v / 255 - mean) / std.
void set_scaling(const KerasSurroundings& model, std::map<std::string, std::string>& metadata) {
  std::array<double, 3> mean = {0.5, 0.5, 0.5}, std_dev = mean;  // v / 127.5 - 1
  if (model.scaling) {
    for (std::size_t c = 0; c < 3; ++c) {
      const double factor = 255 * model.scaling->factor[c];
      mean[c] = 0 - model.scaling->shift[c] / factor;
      std_dev[c] = 1 / factor;
    }
  }
  metadata.emplace("mean", fmt::format("{}", fmt::join(mean, ",")));
  metadata.emplace("std", fmt::format("{}", fmt::join(std_dev, ",")));
}

// What no file says of a detector, and what was taken instead.
std::string assumptions(const KerasSurroundings& model, const KerasHead& head) {
  std::vector<std::string> list = {fmt::format("{} means fake", kAssumedLabel)};
  if (!model.side) list.push_back(fmt::format("{} 224 pixels a side", kAssumedSize));
  if (!model.scaling) list.push_back(fmt::format("{} from -1 to 1 go in", kAssumedPixels));
  std::ranges::copy(model.assumed, std::back_inserter(list));
  std::ranges::copy(head.made.assumed, std::back_inserter(list));
  return fmt::format("{}\n", fmt::join(list, "\n"));
}

void set_conventions(const KerasSurroundings& model, const KerasHead& head,
                     std::map<std::string, std::string>& metadata) {
  if (model.side) metadata.emplace("input_size", fmt::to_string(*model.side));
  metadata.insert({{"bn_eps", "0.001"}, {"pad_mode", "tf_same"}});
  set_scaling(model, metadata);
  if (!head.fault.empty()) metadata[kLeftOut] += "its head: " + head.fault + "\n";
  if (!head.made.is_detector()) return;
  metadata.emplace("dropout", fmt::format("{}", model.dropout));
  metadata.emplace(kAssumed, assumptions(model, head));
}

}  // namespace

std::span<const KerasRow> keras_rows() {
  static const std::vector<KerasRow> rows = make_rows();
  return rows;
}

bool recognise_keras(const TensorFile& file) {
  if (file.metadata.contains("@layer_names") || file.metadata.contains("model_weights@layer_names"))
    return true;
  return std::ranges::any_of(file.tensors, [](const Tensor& t) { return is_keras_path(t.name); });
}

TensorFile translate_keras(TensorFile file, const std::string& name_for_errors) {
  const std::vector<KerasArray> arrays = keras_arrays(file);
  const Matches matches = match(arrays, guess_network(file), name_for_errors);
  const auto configured = keras_surroundings(configured_layers(file));
  const auto named_side = side_in_name(file.tensors);
  TensorFile out;
  std::vector<KerasArray> free;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (matches[i] == nullptr) {
      free.push_back(arrays[i]);
    } else {
      out.tensors.push_back(to_torch(std::move(file.tensors[arrays[i].tensor]), *matches[i],
                                     arrays[i].role, name_for_errors));
    }
  }
  if (const auto twice = repeated(out.tensors, &Tensor::name))
    throw ModelFileError(
        fmt::format("{}: Keras: two arrays are {}", name_for_errors, printable(*twice)));
  const std::int64_t features = check_chain(out, name_for_errors);

  KerasSurroundings model = configured ? *configured : guessed_surroundings(file, free);
  if (!model.side) model.side = named_side;
  KerasHead head = keras_head(file, free, model, features);
  if (free.empty()) head.fault.clear();  // a base alone lacks nothing
  for (const KerasArray& array : free)
    if (std::ranges::find(head.used, array.tensor) == head.used.end())
      out.tensors.push_back(std::move(file.tensors[array.tensor]));
  std::ranges::move(head.made.tensors, std::back_inserter(out.tensors));

  out.metadata = std::move(file.metadata);
  keep_version(out.metadata);
  set_conventions(model, head, out.metadata);
  return out;
}

constinit const Source kKeras = {
    "keras", recognise_keras, [](TensorFile file, std::span<const Stage>, const std::string& name) {
      return translate_keras(std::move(file), name);
    }};

}  // namespace dfengine::weights
