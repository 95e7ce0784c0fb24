// PyTorch's families: MobileNetV2 under torchvision's, timm's or Hugging Face's names, behind any
// prefix, beside any other tensors.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "kernels/base/error.h"
#include "weights/families/source.h"

namespace dfengine::weights {
namespace {

constexpr std::string_view kFeatures = "features.";

// torchvision's names behind "features.".
ConvNames nested_names(const ConvPlace& place) {
  ConvNames names = torchvision_names(place);
  names.conv.erase(0, kFeatures.size());
  names.norm.erase(0, kFeatures.size());
  return names;
}

// Before a convolution, its norm and its activation became one module, a block counted them all
// (torchvision's first version, tonylins/pytorch-mobilenet-v2).
ConvNames flat_names(const ConvPlace& place) {
  const auto at = [&](int module) {
    const std::string block = fmt::format("{}.conv.", place.block + 1);
    return ConvNames{fmt::format("{}{}", block, module), fmt::format("{}{}", block, module + 1)};
  };
  constexpr int kModules = 3;  // of a convolution with an activation
  const int before = place.expanded ? kModules : 0;
  switch (place.role) {
    case ConvRole::Expand:
      return at(0);
    case ConvRole::Depthwise:
      return at(before);
    case ConvRole::Project:
      return at(before + kModules);
    default:
      return nested_names(place);
  }
}

// A block without expansion (DepthwiseSeparableConv) projects by conv_pw, and its norms count from
// the depthwise convolution. In the others conv_pw expands.
ConvNames timm_names(const ConvPlace& place) {
  const std::string block = fmt::format("blocks.{}.{}", place.stage, place.in_stage);
  switch (place.role) {
    case ConvRole::Stem:
      return {"conv_stem", "bn1"};
    case ConvRole::Expand:
      return {block + ".conv_pw", block + ".bn1"};
    case ConvRole::Depthwise:
      return {block + ".conv_dw", block + (place.expanded ? ".bn2" : ".bn1")};
    case ConvRole::Project:
      if (!place.expanded) return {block + ".conv_pw", block + ".bn2"};
      return {block + ".conv_pwl", block + ".bn3"};
    case ConvRole::Head:
      break;
  }
  return {"conv_head", "bn2"};
}

// transformers/models/mobilenet_v2/modeling_mobilenet_v2.py. The stem's names hold block 0. A
// classifier of 1001 classes keeps them all: class 0 is "background".
ConvNames hf_names(const ConvPlace& place) {
  const auto names = [](const std::string& layer) {
    return ConvNames{layer + ".convolution", layer + ".normalization"};
  };
  const std::string block =
      place.block == 0 ? "conv_stem" : fmt::format("layer.{}", place.block - 1);
  switch (place.role) {
    case ConvRole::Stem:
      return names("conv_stem.first_conv");
    case ConvRole::Expand:
      return names(block + ".expand_1x1");
    case ConvRole::Depthwise:
      return names(block + ".conv_3x3");
    case ConvRole::Project:
      return names(block + ".reduce_1x1");
    case ConvRole::Head:
      break;
  }
  return names("conv_1x1");
}

struct Naming {
  const char* family;
  const char* base;  // stands before all names of the base
  ConvNames (*names)(const ConvPlace& place);
};
// Some save the base's modules without the model around them: then "" stands before.
constexpr Naming kNamings[] = {{"torchvision", "features.", nested_names},
                               {"torchvision", "", nested_names},
                               {"torchvision", "features.", flat_names},
                               {"torchvision", "", flat_names},
                               {"timm", "", timm_names},
                               {"hf", "mobilenet_v2.", hf_names},
                               {"hf", "", hf_names}};

using Conventions = std::array<std::pair<const char*, const char*>, 5>;
// transformers hands TensorFlow's decay 0.997 to PyTorch as a momentum, which would replace the
// statistics almost wholly at every step. What was meant is 1 - 0.997.
constexpr Conventions kTensorFlow = {{{"bn_eps", "0.001"},
                                      {"bn_momentum", "0.003"},
                                      {"pad_mode", "tf_same"},
                                      {"mean", "0.5,0.5,0.5"},
                                      {"std", "0.5,0.5,0.5"}}};
constexpr Conventions kPyTorch = {{{"bn_eps", "1e-05"},
                                   {"bn_momentum", "0.1"},
                                   {"pad_mode", "torch"},
                                   {"mean", "0.485,0.456,0.406"},
                                   {"std", "0.229,0.224,0.225"}}};

constexpr std::array kNormTensors = {"weight", "bias", "running_mean", "running_var",
                                     "num_batches_tracked"};

// The name without the modules that PyTorch puts around others to run them.
std::string unwrapped(std::string_view name) {
  constexpr std::string_view kWrappers[] = {"module", "_orig_mod", "_fsdp_wrapped_module",
                                            "_checkpoint_wrapped_module"};
  std::string out;
  while (!name.empty()) {
    const std::string_view part = name.substr(0, name.find('.'));
    name.remove_prefix(std::min(part.size() + 1, name.size()));
    if (std::ranges::find(kWrappers, part) != std::end(kWrappers) && !name.empty()) continue;
    out += (out.empty() ? "" : ".") + std::string(part);
  }
  return out;
}

// Whether an owner is a moving average, which comes after the weights it was made of.
bool is_average(std::string_view owner) {
  std::string lower(owner);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower.find("ema") != std::string::npos || lower.find("swa") != std::string::npos ||
         lower.find("teacher") != std::string::npos;
}

// A MobileNetV2 among the tensors.
struct Found {
  const Naming* naming = nullptr;
  std::string owner;  // what stands before the base's prefix: "state_dict."
  std::size_t tensors = 0;
};

class Search {
 public:
  Search(const TensorFile& file, std::span<const Stage> stages, const std::string& name)
      : name_(name), places_(conv_places(stages)) {
    for (const Tensor& t : file.tensors) names_.insert(t.name);
    for (const Naming& naming : kNamings)
      for (const Tensor& t : file.tensors) look_at(naming, t.name);
  }

  const Found& best() const { return best_; }

 private:
  // Each candidate costs a look at all its names.
  static constexpr std::size_t kLongestOwner = 4096;
  static constexpr int kMostCandidates = 256;

  // The stem's weight ends in a known name; what stands before it is the owner.
  void look_at(const Naming& naming, std::string_view name) {
    const std::string stem = naming.base + naming.names(places_[0]).conv + ".weight";
    if (!name.ends_with(stem)) return;
    const std::string owner(name.substr(0, name.size() - stem.size()));
    if (owner.size() > kLongestOwner || (!owner.empty() && owner.back() != '.')) return;
    const std::string before = owner + naming.base;
    if (!names_.contains(before + naming.names(places_[1]).conv + ".weight")) return;
    if (++candidates_ > kMostCandidates)
      throw ModelFileError(name_ +
                           ": holds the beginnings of too many networks; save one of them alone");
    Found found{&naming, owner, 0};
    for (const ConvPlace& place : places_) {
      const ConvNames names = naming.names(place);
      found.tensors += names_.count(before + names.conv + ".weight");
      for (const char* tensor : kNormTensors)
        found.tensors += names_.count(fmt::format("{}{}.{}", before, names.norm, tensor));
    }
    const auto rank = [](const Found& f) { return std::pair(f.tensors, !is_average(f.owner)); };
    if (rank(found) > rank(best_)) best_ = std::move(found);
  }

  const std::string& name_;
  std::vector<ConvPlace> places_;
  std::unordered_set<std::string> names_;
  int candidates_ = 0;
  Found best_;
};

// The names of the base and of an ImageNet classifier, from the file's to torchvision's.
std::unordered_map<std::string, std::string> new_names(const Found& found,
                                                       std::span<const Stage> stages) {
  std::unordered_map<std::string, std::string> map;
  for (const char* layer : {"classifier.1", "classifier"})
    for (const char* tensor : {"weight", "bias"})
      map.emplace(fmt::format("{}{}.{}", found.owner, layer, tensor),
                  fmt::format("classifier.1.{}", tensor));
  for (const ConvPlace& place : conv_places(stages)) {
    const ConvNames from = found.naming->names(place), to = torchvision_names(place);
    const std::string before = found.owner + found.naming->base;
    map[before + from.conv + ".weight"] = to.conv + ".weight";
    for (const char* tensor : kNormTensors)
      map[fmt::format("{}{}.{}", before, from.norm, tensor)] =
          fmt::format("{}.{}", to.norm, tensor);
  }
  return map;
}

void unwrap(TensorFile& file) {
  std::unordered_set<std::string> names;
  for (const Tensor& t : file.tensors) names.insert(unwrapped(t.name));
  if (names.size() != file.tensors.size()) return;  // two copies, which the wrapper tells apart
  for (Tensor& t : file.tensors) t.name = unwrapped(t.name);
}

bool is_detector(const TensorFile& file) {
  return file.find("head.fc1.weight") != nullptr && file.find("head.fc2.weight") != nullptr;
}

// What no entry of the file says of a detector, and what is taken instead.
std::string assumptions(const TensorFile& file, const Conventions& conventions, bool tensorflow) {
  std::string lines;
  const auto unless_said = [&](const char* key, const std::string& line) {
    if (!file.metadata.contains(key)) lines += line + "\n";
  };
  unless_said("positive_class", fmt::format("{} means fake", kAssumedLabel));
  unless_said("input_size", fmt::format("{} 224 pixels a side", kAssumedSize));
  unless_said("mean", fmt::format("{} {} go in", kAssumedPixels,
                                  tensorflow ? "from -1 to 1" : "scaled as for ImageNet"));
  for (const auto& [key, value] : conventions)
    if (key == std::string_view("pad_mode") || key == std::string_view("bn_eps"))
      unless_said(key, fmt::format("{} is {}", key, value));
  unless_said("temperature", "temperature is 1");
  return lines;
}

TensorFile translate(TensorFile file, std::span<const Stage> stages,
                     const std::string& name_for_errors) {
  if (is_ours(file)) return file;
  unwrap(file);
  const Found found = Search(file, stages, name_for_errors).best();
  if (found.naming == nullptr) return file;
  const auto map = new_names(found, stages);
  for (Tensor& tensor : file.tensors) {
    const auto known = map.find(tensor.name);
    if (known != map.end()) {
      tensor.name = known->second;
    } else if (tensor.name.starts_with(found.owner)) {
      tensor.name.erase(0, found.owner.size());
    }
  }
  if (const auto twice = repeated(file.tensors, &Tensor::name))
    throw ModelFileError(fmt::format("{}: two tensors are torchvision's \"{}\"", name_for_errors,
                                     printable(*twice)));
  if (!found.owner.empty())
    file.metadata.emplace("source_entry", found.owner.substr(0, found.owner.size() - 1));
  file.metadata.emplace("source_family", found.naming->family);
  const bool tensorflow = found.naming->names == hf_names;
  const Conventions& conventions = tensorflow ? kTensorFlow : kPyTorch;
  if (is_detector(file))
    file.metadata.emplace(kAssumed, assumptions(file, conventions, tensorflow));
  for (const auto& entry : conventions) file.metadata.emplace(entry.first, entry.second);
  return file;
}

}  // namespace

constinit const Source kNames = {"torchvision", [](const TensorFile&) { return true; }, translate};

}  // namespace dfengine::weights
