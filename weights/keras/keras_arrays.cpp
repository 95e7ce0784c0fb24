#include "weights/keras/keras_arrays.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <utility>

#include "kernels/base/enum_names.h"

namespace dfengine::weights {
namespace {

constexpr auto kNames =
    names_for<KerasRole>("role", {{"kernel", KerasRole::ConvKernel},
                                  {"depthwise kernel", KerasRole::DepthwiseKernel},
                                  {"dense kernel", KerasRole::DenseKernel},
                                  {"bias", KerasRole::DenseBias},
                                  {"gamma", KerasRole::Gamma},
                                  {"beta", KerasRole::Beta},
                                  {"moving_mean", KerasRole::Mean},
                                  {"moving_variance", KerasRole::Variance},
                                  {"other", KerasRole::Other}});
// A batch norm's variables in the order Keras 3 numbers them.
constexpr std::array kNormRoles = {KerasRole::Gamma, KerasRole::Beta, KerasRole::Mean,
                                   KerasRole::Variance};
constexpr std::string_view kOfTraining[] = {"optimizer/", "optimizer_weights/", "metrics/",
                                            "_compile_metrics/", "_loss_tracker/"};

// The path up to its last slash, and what follows it.
std::pair<std::string_view, std::string_view> split_last(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

// The shape tells a kernel's layer: only a depthwise kernel has a window and one output per
// channel.
KerasRole kernel_role(const std::vector<std::int64_t>& shape) {
  if (shape.size() == 2) return KerasRole::DenseKernel;
  if (shape.size() != 4) return KerasRole::Other;
  return shape[0] > 1 && shape[3] == 1 ? KerasRole::DepthwiseKernel : KerasRole::ConvKernel;
}

// "LAYER/vars/NUMBER", as Keras 3 names variables.
bool numbered(std::string_view path) {
  const auto [folder, leaf] = split_last(path);
  return split_last(folder).second == "vars" && leaf.size() == 1 && leaf[0] >= '0' &&
         leaf[0] <= '9';
}

KerasRole role_of_number(const Tensor& tensor,
                         const std::map<std::string_view, std::size_t>& rank) {
  const auto [folder, leaf] = split_last(tensor.name);
  const auto number = static_cast<std::size_t>(leaf[0] - '0');
  if (number == 0 && tensor.shape.size() != 1) return kernel_role(tensor.shape);
  if (tensor.shape.size() != 1) return KerasRole::Other;
  const std::string first = std::string(folder) + "/0";
  const auto found = rank.find(first);
  const std::size_t first_rank = found == rank.end() ? 0 : found->second;
  if (first_rank == 2 && number == 1) return KerasRole::DenseBias;
  return first_rank == 1 && number < kNormRoles.size() ? kNormRoles[number] : KerasRole::Other;
}

std::string_view without_suffix(std::string_view leaf) {
  return leaf.substr(0, leaf.find(':'));  // ":0" is TensorFlow's number of the output
}

KerasRole role_of_name(const Tensor& tensor) {
  const std::string_view leaf = without_suffix(split_last(tensor.name).second);
  if (leaf == "kernel") return kernel_role(tensor.shape);
  if (leaf == "depthwise_kernel") return KerasRole::DepthwiseKernel;
  return kNames.find(leaf).value_or(KerasRole::Other);
}

// Paths in the order that Keras' attributes list them.
std::vector<std::string> listed_paths(const TensorFile& file) {
  std::vector<std::string> paths;
  for (const std::string root : {"", "model_weights"}) {
    const auto layers = file.metadata.find(root + "@layer_names");
    if (layers == file.metadata.end()) continue;
    const std::string prefix = root.empty() ? "" : root + "/";
    for (const std::string_view layer : lines_of(layers->second)) {
      const std::string group = prefix + std::string(layer);
      const auto weights = file.metadata.find(group + "@weight_names");
      if (weights == file.metadata.end()) continue;
      for (const std::string_view weight : lines_of(weights->second))
        paths.push_back(group + "/" + std::string(weight));
    }
  }
  return paths;
}

// Indices of tensors: the listed ones first.
std::vector<std::size_t> ordered(const TensorFile& file) {
  std::map<std::string_view, std::size_t> place;
  const std::vector<std::string> paths = listed_paths(file);
  for (const std::string& path : paths) place.emplace(path, place.size());
  std::vector<std::pair<std::size_t, std::size_t>> order;  // place, tensor
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    const auto found = place.find(file.tensors[i].name);
    order.emplace_back(found == place.end() ? place.size() : found->second, i);
  }
  std::ranges::sort(order, [&](const auto& a, const auto& b) {
    if (a.first != b.first) return a.first < b.first;
    // glibc's order in which runs of digits count as numbers.
    return strverscmp(file.tensors[a.second].name.c_str(), file.tensors[b.second].name.c_str()) < 0;
  });
  std::vector<std::size_t> out;
  for (const auto& entry : order) out.push_back(entry.second);
  return out;
}

bool is_of_training(std::string_view path) {
  return std::ranges::any_of(kOfTraining, [&](std::string_view o) { return path.starts_with(o); });
}

}  // namespace

const char* role_name(KerasRole role) {
  return kNames.name_of(role);
}

bool is_keras_path(std::string_view path) {
  if (numbered(path)) return true;
  constexpr std::string_view kLeaves[] = {"kernel", "depthwise_kernel", "gamma", "moving_mean",
                                          "moving_variance"};
  const auto [folder, leaf] = split_last(path);
  return !folder.empty() && std::ranges::find(kLeaves, without_suffix(leaf)) != std::end(kLeaves);
}

std::vector<KerasArray> keras_arrays(const TensorFile& file) {
  std::map<std::string_view, std::size_t> rank;
  for (const Tensor& t : file.tensors) rank.emplace(t.name, t.shape.size());
  std::vector<KerasArray> arrays;
  for (const std::size_t i : ordered(file)) {
    const Tensor& tensor = file.tensors[i];
    if (is_of_training(tensor.name)) continue;
    std::string_view folder = split_last(tensor.name).first;
    const bool is_numbered = numbered(tensor.name);
    if (is_numbered) folder = split_last(folder).first;
    arrays.push_back({i, std::string(split_last(folder).second), std::string(folder), is_numbered,
                      is_numbered ? role_of_number(tensor, rank) : role_of_name(tensor)});
  }
  return arrays;
}

}  // namespace dfengine::weights
