// The layers that a Keras configuration (JSON of versions 2 and 3) describes, as one list.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dfengine::weights {

struct KerasConfigLayer {
  std::string kind;  // its class: "Dense"; of an operation of TensorFlow's its function
  std::string name;
  // Where Keras 3 keeps its variables: the container's path, its class and its number among those
  // of its class: "layers/functional/layers/dense_1".
  std::string path;
  // It takes the layer before it and nothing else. Always so in a Sequential.
  bool follows = true;
  std::optional<double> operand;  // of x / 127.5 and the like
  nlohmann::json config;

  // A number of the configuration.
  double number(const char* key, double absent) const;
  bool flag(const char* key, bool absent) const;
  // A text of the configuration; "" where there is none.
  std::string text(const char* key) const;
  // Numbers of the configuration: a list of them, in lists of one, or a single one. Empty where
  // there are none.
  std::vector<double> numbers(const char* key) const;
};

// All layers in order, with those of an inner model in its place. Empty for text that is no
// configuration of a model, and where models are nested too deep.
std::vector<KerasConfigLayer> keras_config_layers(std::string_view json);

}  // namespace dfengine::weights
