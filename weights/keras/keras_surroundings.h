// What a Keras model does before its MobileNetV2 and after it, as its configuration says.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "weights/families/dense_head.h"
#include "weights/keras/keras_config.h"

namespace dfengine::weights {

// One step behind the pooled features. Layers that do nothing in inference are no steps.
struct KerasStep {
  enum class Kind { Dense, Norm, Relu };
  Kind kind = Kind::Dense;
  std::string name, path;  // of the layer, as in KerasConfigLayer
  // Of a Norm; whether it has gamma, and beta.
  double epsilon = 0;
  bool scale = true, center = true;
};

struct KerasSurroundings {
  std::optional<int> side;  // of the square picture; of one that the engine cannot take, too
  // The network sees factor * v + shift of a value v from 0 to 255. None where the model does not
  // scale, or in a way that cannot be read.
  struct Scaling {
    std::array<double, 3> factor = {1, 1, 1}, shift = {0, 0, 0};
  };
  std::optional<Scaling> scaling;
  double dropout = 0;  // the last one before the output
  std::vector<KerasStep> steps;
  HeadOutput output = HeadOutput::Linear;
  // Why the steps are not all that the model does; empty where they are.
  std::string fault;
  // What was taken to be so, though the file cannot say it.
  std::vector<std::string> assumed;
};

// Nothing where the layers hold no MobileNetV2.
std::optional<KerasSurroundings> keras_surroundings(const std::vector<KerasConfigLayer>& layers);

}  // namespace dfengine::weights
