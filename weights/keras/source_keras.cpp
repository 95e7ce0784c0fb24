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
#include "weights/families/source.h"
#include "weights/keras/keras_arrays.h"

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

const KerasRow* row_named(std::string_view layer, KerasLayer kind) {
  const auto rows = keras_rows();
  const auto found = std::ranges::find_if(rows, [&](const KerasRow& row) {
    return row.kind == kind && (row.keras == layer || row.stock == layer);
  });
  return found == rows.end() ? nullptr : &*found;
}

// The row of each array; null for an array that stays as it is.
using Matches = std::vector<const KerasRow*>;

Matches match_by_name(const std::vector<KerasArray>& arrays) {
  Matches matches;
  for (const KerasArray& a : arrays)
    matches.push_back(a.role == KerasRole::Other ? nullptr
                                                 : row_named(a.layer, pattern_of(a.role).kind));
  return matches;
}

// The n-th array of a role belongs to the n-th row of its kind.
Matches match_by_order(const std::vector<KerasArray>& arrays, const std::string& file) {
  Matches matches(arrays.size());
  for (const RolePattern& pattern : kRoles) {
    std::vector<const KerasRow*> rows;
    for (const KerasRow& row : keras_rows())
      if (row.kind == pattern.kind) rows.push_back(&row);
    std::vector<std::size_t> members;
    for (std::size_t i = 0; i < arrays.size(); ++i)
      if (arrays[i].role == pattern.role) members.push_back(i);
    // With several dense layers nobody can tell which is the classifier.
    if (pattern.kind == KerasLayer::Dense && members.size() != 1) continue;
    if (members.size() != rows.size()) {
      throw ModelFileError(
          fmt::format("{}: Keras: no layer has a name of MobileNetV2's, and by order {} arrays "
                      "cannot be its {} \"{}\"",
                      file, members.size(), rows.size(), role_name(pattern.role)));
    }
    for (std::size_t i = 0; i < rows.size(); ++i) matches[members[i]] = rows[i];
  }
  return matches;
}

Matches match(const std::vector<KerasArray>& arrays, const std::string& file) {
  Matches by_name = match_by_name(arrays);
  const auto is_base = [](const KerasRow* row) { return row && row->kind != KerasLayer::Dense; };
  return std::ranges::any_of(by_name, is_base) ? by_name : match_by_order(arrays, file);
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
void check_chain(const TensorFile& file, const std::string& name) {
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
        if (weight == nullptr) return;
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
        check(row.torch + ".weight", {out, channels});
        check(row.torch + ".bias", {out});
        break;
    }
  }
}

// The side of the square input, 224 in "KEY224, 224, 3]".
std::optional<int> side_after(std::string_view text, std::string_view key) {
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + key.size());
  const std::string_view side = text.substr(0, text.find_first_not_of("0123456789"));
  const bool square = text.substr(side.size()).starts_with(fmt::format(", {},", side));
  return square ? number_of<int>(side) : std::nullopt;
}

// The side that Keras' configuration states, of version 3 or 2, as Python writes JSON.
std::optional<int> input_size(const std::map<std::string, std::string>& metadata) {
  const auto config = metadata.find("@model_config");
  if (config == metadata.end()) return std::nullopt;
  const auto side = side_after(config->second, "\"batch_shape\": [null, ");
  return side ? side : side_after(config->second, "\"batch_input_shape\": [null, ");
}

// The side in the name that Keras gives the network where it is one layer of another model:
// mobilenetv2_1.00_160.
std::optional<int> input_size(const std::vector<Tensor>& tensors) {
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
void set_conventions(std::map<std::string, std::string>& metadata, std::optional<int> side) {
  if (side) metadata.emplace("input_size", fmt::to_string(*side));
  for (const char* key : {"@keras_version", "model_weights@keras_version"}) {
    const auto version = metadata.find(key);
    if (version != metadata.end() && !version->second.empty())
      metadata.emplace("keras_version", version->second);
  }
  std::erase_if(metadata, [](const auto& e) { return e.first.find('@') != std::string::npos; });
  // x / 127.5 - 1 is (x / 255 - 0.5) / 0.5.
  metadata.insert({{"bn_eps", "0.001"},
                   {"pad_mode", "tf_same"},
                   {"mean", "0.5,0.5,0.5"},
                   {"std", "0.5,0.5,0.5"}});
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
  const Matches matches = match(arrays, name_for_errors);
  const auto configured = input_size(file.metadata);
  const auto side = configured ? configured : input_size(file.tensors);
  TensorFile out;
  out.metadata = std::move(file.metadata);
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    Tensor& tensor = file.tensors[arrays[i].tensor];
    out.tensors.push_back(matches[i] == nullptr ? std::move(tensor)
                                                : to_torch(std::move(tensor), *matches[i],
                                                           arrays[i].role, name_for_errors));
  }
  if (const auto twice = repeated(out.tensors, &Tensor::name))
    throw ModelFileError(
        fmt::format("{}: Keras: two arrays are {}", name_for_errors, printable(*twice)));
  check_chain(out, name_for_errors);
  set_conventions(out.metadata, side);
  return out;
}

constinit const Source kKeras = {
    "keras", recognise_keras, [](TensorFile file, std::span<const Stage>, const std::string& name) {
      return translate_keras(std::move(file), name);
    }};

}  // namespace dfengine::weights
