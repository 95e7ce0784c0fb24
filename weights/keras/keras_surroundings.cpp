// The layers are walked in order: up to the stem, then from the last activation of the base on.
#include "weights/keras/keras_surroundings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "weights/tensor_file.h"

namespace dfengine::weights {
namespace {

using Layers = std::span<const KerasConfigLayer>;

constexpr std::size_t kDepthwise = 17;  // of MobileNetV2

// Where the base's first layer stands, and the one behind its last; nothing without a base.
std::optional<std::pair<std::size_t, std::size_t>> base_in(Layers layers) {
  std::vector<std::size_t> depthwise;
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (layers[i].kind == "DepthwiseConv2D") depthwise.push_back(i);
  if (depthwise.size() < kDepthwise) return std::nullopt;
  std::size_t first = depthwise[0];
  while (first > 0 && layers[first].kind != "Conv2D") --first;
  if (first > 0 && layers[first - 1].kind == "ZeroPadding2D") --first;
  // Behind the last depthwise convolution come its block's projection and the last convolution.
  int convolutions = 2;
  for (std::size_t i = depthwise[kDepthwise - 1]; i < layers.size(); ++i) {
    if (layers[i].kind == "Conv2D" && --convolutions == 0)
      return std::pair(first, std::min(i + 3, layers.size()));  // its batch norm and activation
  }
  return std::nullopt;
}

// The side of the square picture that an InputLayer or a Resizing states.
std::optional<int> side_of(const KerasConfigLayer& layer) {
  const auto square = [](double height, double width) {
    return height == width && height >= 1 && height <= 65536
               ? std::optional(static_cast<int>(height))
               : std::nullopt;
  };
  if (layer.kind == "Resizing") return square(layer.number("height", 0), layer.number("width", 0));
  if (layer.kind != "InputLayer") return std::nullopt;
  for (const char* key : {"batch_shape", "batch_input_shape"}) {
    const auto numbers = layer.numbers(key);  // the unknown size of the batch is no number
    if (numbers.size() == 3) return square(numbers[0], numbers[1]);
  }
  return std::nullopt;
}

// Layers that leave a value as it is in inference.
bool is_idle(const KerasConfigLayer& layer) {
  constexpr std::string_view kIdle[] = {
      "InputLayer",      "Dropout",       "SpatialDropout2D", "AlphaDropout",
      "GaussianDropout", "GaussianNoise", "Identity",         "ActivityRegularization"};
  // RandomFlip, RandomRotation, ...: augmentation. RandomCrop alone goes on in inference, where it
  // cuts the middle.
  return std::ranges::find(kIdle, layer.kind) != std::end(kIdle) ||
         (layer.kind.starts_with("Random") && layer.kind != "RandomCrop") ||
         (layer.kind == "Activation" && layer.text("activation") == "linear");
}

std::string called(const KerasConfigLayer& layer) {
  return fmt::format("{} \"{}\"", printable(layer.kind), printable(layer.name));
}

class Walk {
 public:
  Walk(Layers layers, std::size_t first, std::size_t end)
      : before_(layers.first(first)), after_(layers.subspan(end)) {
    // The base may be a model of its own with an input of its own.
    for (const KerasConfigLayer& layer : before_)
      if (const auto side = side_of(layer)) out_.side = side;
    if (!layers[first].follows) branches(layers[first]);
  }

  KerasSurroundings run() {
    for (const KerasConfigLayer& layer : before_) scale_by(layer);
    if (scaled_ && !unknown_scale_) out_.scaling = scaling_;
    for (const KerasConfigLayer& layer : after_) head(layer);
    if (out_.fault.empty() && !pooled_) out_.fault = "nothing averages the last feature map";
    if (out_.fault.empty() && out_.steps.empty()) out_.fault = "it has no head";
    return std::move(out_);
  }

 private:
  void fail(const std::string& cause) {
    if (out_.fault.empty()) out_.fault = cause;
  }
  void branches(const KerasConfigLayer& layer) {
    fail(called(layer) + " does not take the layer before it alone");
  }

  // Pixels
  // ------------------------------------------------------------------------------------------
  void multiply(const std::vector<double>& by) {
    for (std::size_t c = 0; c < 3; ++c) {
      const double value = by.size() == 3 ? by[c] : by[0];
      scaling_.factor[c] *= value;
      scaling_.shift[c] *= value;
    }
    scaled_ = true;
  }
  void add(const std::vector<double>& by, double sign) {
    for (std::size_t c = 0; c < 3; ++c)
      scaling_.shift[c] += sign * (by.size() == 3 ? by[c] : by[0]);
    scaled_ = true;
  }

  void scale_by(const KerasConfigLayer& layer) {
    if (!layer.follows) return branches(layer);
    if (is_idle(layer)) return;
    if (layer.kind == "Resizing") {
      out_.assumed.push_back("pictures are resized by dfengine's rule, not by its layer " +
                             called(layer));
      return;
    }
    if (!(layer.operand ? operation(layer) : rescaling(layer))) unknown(layer);
  }

  bool rescaling(const KerasConfigLayer& layer) {
    const auto fit = [](const std::vector<double>& v) { return v.size() == 1 || v.size() == 3; };
    if (layer.kind == "Rescaling") {
      const auto scale = layer.numbers("scale"), offset = layer.numbers("offset");
      if (!fit(scale) || !fit(offset)) return false;
      multiply(scale);
      add(offset, 1);
      return true;
    }
    if (layer.kind != "Normalization" || layer.flag("invert", false)) return false;
    const auto mean = layer.numbers("mean");
    auto factor = layer.numbers("variance");
    if (!fit(mean) || !fit(factor)) return false;
    constexpr double kLeast = 1e-7;  // keras.backend.epsilon()
    for (double& v : factor) v = 1 / std::max(std::sqrt(v), kLeast);
    add(mean, -1);
    multiply(factor);
    return true;
  }

  // x / 127.5 and its like, by the names of Keras 3 and of TensorFlow.
  bool operation(const KerasConfigLayer& layer) {
    const auto is = [&](std::initializer_list<std::string_view> names) {
      return std::ranges::find(names, layer.kind) != names.end();
    };
    const double value = *layer.operand;
    if (is({"TrueDivide", "Divide", "math.truediv", "math.divide", "__operators__.truediv"})) {
      if (value == 0) return false;
      multiply({1 / value});
    } else if (is({"Multiply", "math.multiply", "__operators__.mul"})) {
      multiply({value});
    } else if (is({"Subtract", "math.subtract", "__operators__.sub"})) {
      add({value}, -1);
    } else if (is({"Add", "math.add", "__operators__.add"})) {
      add({value}, 1);
    } else {
      return false;
    }
    return true;
  }

  // Code is not read. What people put there is Keras' own preprocess_input.
  void unknown(const KerasConfigLayer& layer) {
    unknown_scale_ = true;
    if (layer.kind == "Lambda") {
      out_.assumed.push_back(called(layer) + " is taken to be the scaling of the pixels");
    } else {
      fail(called(layer) +
           " before the base is no scaling of pixels that its configuration states");
    }
  }

  // Head
  // --------------------------------------------------------------------------------------------
  void head(const KerasConfigLayer& layer) {
    if (!layer.follows) return branches(layer);
    if (finished_) return fail(called(layer) + " follows the output");
    if (layer.kind == "Dropout") out_.dropout = layer.number("rate", 0);
    if (is_idle(layer)) return;
    if (!pooled_) return pool(layer);
    if (layer.kind == "Flatten") return;
    if (layer.kind == "Dense") {
      out_.steps.push_back({KerasStep::Kind::Dense, layer.name, layer.path});
      return activation(layer);
    }
    if (layer.kind == "BatchNormalization") {
      return out_.steps.push_back({KerasStep::Kind::Norm, layer.name, layer.path,
                                   layer.number("epsilon", 1e-3), layer.flag("scale", true),
                                   layer.flag("center", true)});
    }
    if (layer.kind == "Activation") return activation(layer);
    if (layer.kind == "ReLU" && layer.numbers("max_value").empty() &&
        layer.number("negative_slope", 0) == 0 && layer.number("threshold", 0) == 0)
      return out_.steps.push_back({KerasStep::Kind::Relu, layer.name, layer.path});
    if (layer.kind == "Softmax") return finish(HeadOutput::Softmax);
    fail(called(layer) + " has no counterpart in a detector's head");
  }

  void pool(const KerasConfigLayer& layer) {
    const auto window = layer.numbers("pool_size");
    const double last = out_.side ? *out_.side / 32 : 0;  // side of the last feature map
    const bool whole = layer.kind == "AveragePooling2D" && window == std::vector{last, last};
    pooled_ = whole || layer.kind == "GlobalAveragePooling2D";
    if (!pooled_) fail(called(layer) + " stands where the last feature map is averaged");
  }

  void activation(const KerasConfigLayer& layer) {
    const std::string name = layer.text("activation");
    if (name == "linear") return;
    if (name == "relu") {
      out_.steps.push_back({KerasStep::Kind::Relu, layer.name, layer.path});
    } else if (name == "sigmoid") {
      finish(HeadOutput::Sigmoid);
    } else if (name == "softmax") {
      finish(HeadOutput::Softmax);
    } else {
      fail(called(layer) + " has another activation than relu, sigmoid or softmax");
    }
  }

  void finish(HeadOutput output) {
    out_.output = output;
    finished_ = true;
  }

  Layers before_, after_;
  KerasSurroundings out_;
  KerasSurroundings::Scaling scaling_;
  bool scaled_ = false, unknown_scale_ = false, pooled_ = false, finished_ = false;
};

}  // namespace

std::optional<KerasSurroundings> keras_surroundings(const std::vector<KerasConfigLayer>& layers) {
  const auto base = base_in(layers);
  if (!base) return std::nullopt;
  return Walk(layers, base->first, base->second).run();
}

}  // namespace dfengine::weights
