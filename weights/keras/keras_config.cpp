#include "weights/keras/keras_config.h"

#include <cctype>
#include <map>
#include <utility>

#include "weights/json_extent.h"

namespace dfengine::weights {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 16;
constexpr std::size_t kMaxLayers = 10'000;

const json* member(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string text_in(const json& object, const char* key) {
  const json* value = member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

// "GlobalAveragePooling2D" -> "global_average_pooling2d" (keras/src/utils/naming.py).
std::string snake_case(std::string_view name) {
  const auto is = [&](std::size_t i, int (*kind)(int)) {
    return i < name.size() && kind(static_cast<unsigned char>(name[i])) != 0;
  };
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool word = is(i, std::isupper) && (is(i - 1, std::islower) || is(i + 1, std::islower));
    if (i > 0 && word) out += '_';
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(name[i])));
  }
  return out;
}

// What a layer's inbound nodes hold: the layers that it takes, and constants.
struct Inbound {
  std::vector<std::string> layers;
  std::vector<double> constants;
  bool constant_first = false;

  // Version 3 names a layer in an object's "keras_history", version 2 in [NAME, NODE, OUTPUT, ...].
  void read(const json& j, int depth) {
    if (depth > kMaxDepth) return;
    if (j.is_number()) {
      constants.push_back(j.get<double>());
      constant_first = constant_first || layers.empty();
    } else if (const json* history = member(j, "keras_history")) {
      if (history->is_array() && !history->empty() && history->front().is_string())
        layers.push_back(history->front());
    } else if (j.is_array() && j.size() >= 3 && j[0].is_string() && j[1].is_number()) {
      layers.push_back(j[0]);
      for (std::size_t i = 3; i < j.size(); ++i) read(j[i], depth + 1);
    } else if (j.is_structured()) {
      for (const json& inner : j) read(inner, depth + 1);
    }
  }
};

class Flattener {
 public:
  bool add(const json& model, const std::string& path, int depth) {
    const json* layers = member(model, "layers");
    if (layers == nullptr || !layers->is_array() || depth > kMaxDepth) return false;
    std::map<std::string, int> numbers;
    std::string previous;
    for (const json& layer : *layers) {
      const json* config = member(layer, "config");
      std::string kind = text_in(layer, "class_name");
      if (config == nullptr || kind.empty() || out_.size() >= kMaxLayers) return false;
      const std::string own = snake_case(kind);
      const int number = numbers[own]++;
      const std::string place =
          path + "layers/" + own + (number == 0 ? "" : "_" + std::to_string(number));
      std::string name = text_in(layer, "name");
      if (name.empty()) name = text_in(*config, "name");
      Inbound inbound;
      if (const json* nodes = member(layer, "inbound_nodes")) inbound.read(*nodes, 0);
      const bool follows = inbound.layers.empty()
                               ? kind != "InputLayer" || previous.empty()
                               : inbound.layers == std::vector{previous} && !inbound.constant_first;
      const std::size_t first = out_.size();
      if (member(*config, "layers") != nullptr) {
        if (!add(*config, place + "/", depth + 1)) return false;
      } else {
        if (const std::string function = text_in(*config, "function"); kind == "TFOpLambda")
          kind = function;
        out_.push_back({std::move(kind), name, place, true, {}, *config});
        if (inbound.constants.size() == 1) out_.back().operand = inbound.constants[0];
      }
      if (first < out_.size() && !follows) out_[first].follows = false;
      previous = name;
    }
    return true;
  }

  std::vector<KerasConfigLayer> take() { return std::move(out_); }

 private:
  std::vector<KerasConfigLayer> out_;
};

}  // namespace

double KerasConfigLayer::number(const char* key, double absent) const {
  const json* value = member(config, key);
  return value != nullptr && value->is_number() ? value->get<double>() : absent;
}

bool KerasConfigLayer::flag(const char* key, bool absent) const {
  const json* value = member(config, key);
  return value != nullptr && value->is_boolean() ? value->get<bool>() : absent;
}

std::string KerasConfigLayer::text(const char* key) const {
  return text_in(config, key);
}

std::vector<double> KerasConfigLayer::numbers(const char* key) const {
  const json* value = member(config, key);
  for (int depth = 0; value != nullptr && value->is_array() && value->size() == 1; ++depth) {
    if (depth > kMaxDepth) return {};
    value = &value->front();
  }
  std::vector<double> numbers;
  if (value == nullptr) return numbers;
  if (value->is_number()) numbers.push_back(value->get<double>());
  if (value->is_array())
    for (const json& v : *value)
      if (v.is_number()) numbers.push_back(v.get<double>());
  return numbers;
}

std::vector<KerasConfigLayer> keras_config_layers(std::string_view text) {
  constexpr std::size_t kMaxNesting = 128;  // more than Keras writes
  if (json_extent(text).depth > kMaxNesting) return {};
  const json model = json::parse(text, nullptr, false);
  const json* config = member(model, "config");
  Flattener all;
  if (config == nullptr || !all.add(*config, "", 0)) return {};
  return all.take();
}

}  // namespace dfengine::weights
