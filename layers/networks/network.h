// A network as a value: its graph, its blocks, what it takes and what its head says.
#pragma once

#include <array>
#include <span>
#include <string>

#include "kernels/base/enum_names.h"
#include "layers/quantize.h"
#include "layers/rewrites.h"

namespace dfengine {

// Detector: dense + ReLU, dropout, dense 1: one logit, positive = fake.
// Classifier: an ImageNet head, one dense layer.
// None: features only.
enum class Head { None, Detector, Classifier };
template <>
inline constexpr auto enum_names<Head> = names_for<Head>(
    "head", {{"none", Head::None}, {"detector", Head::Detector}, {"classifier", Head::Classifier}});

// What a network is made from. Each architecture reads what it knows.
struct NetworkConfig {
  std::string architecture = "mobilenet_v2";
  double width = 1.0;      // width multiplier
  Index input_size = 224;  // multiple of 32, 96 to 320
  Padding padding = Padding::Torch;
  // Of the first convolution: 2 as published; 1 keeps every pixel, for four times the work.
  Index stem_stride = 2;
  double bn_eps = 1e-5;
  double bn_momentum = 0.1;
  std::array<double, 3> mean = {0.485, 0.456, 0.406};  // of pixels / 255
  std::array<double, 3> std_dev = {0.229, 0.224, 0.225};
  Head head = Head::Detector;
  Index hidden = 128;    // detector: width of the first dense layer
  Index classes = 1000;  // classifier: number of classes
  double dropout = 0.2;
  // How many such networks look at the same image; more than one are an ensemble, whose logit is
  // the sum of theirs. Their tensors' names begin with "0.", "1." and so on.
  Index members = 1;
  // Not empty: convolutions compute in 8-bit integers, and this is what the result of each, by its
  // name, is quantized as.
  Quantizations quantization = {};

  // Throws UsageError naming the field that is out of range.
  void validate() const;
};

struct Network {
  std::string title;  // of the architecture, for people
  // Input "images"; outputs "pooled" [N, 1, 1, features], but for an ensemble, and, with a head,
  // "logits".
  Graph graph;
  std::vector<std::string> blocks;  // of the base, from the image on: what --freeze K counts
  Spec image;                       // what it takes, n = 1: [1, S, S, 3] uint8 RGB
  Index features = 0;
  Head head = Head::None;

  int block_count() const { return static_cast<int>(blocks.size()); }
  // Parameters outside of the first `frozen` blocks.
  Trainable trainable_above(int frozen) const;
  // Layer-wise learning rates: decay^k for parameters of the k-th block before the head, 1 for the
  // head's.
  std::function<double(const ParamSpec&)> rates(double decay) const;
};

// Of a forward pass of one image through the convolutions and dense layers of a graph whose input
// it is.
Index multiply_adds(const Graph& graph, const Spec& image);

// A stage of blocks that share their channels; the stride is that of its first block.
struct Stage {
  Index expand, channels, repeats, stride;
};

// How many channels a weight gives.
struct WeightChannels {
  std::string weight;
  Index channels;
};

// How networks of one kind are made.
struct Architecture {
  std::string_view name;   // in files
  std::string_view title;  // for people
  // Appends the base to a graph, from images to the pooled features, whose value it returns. It
  // names its blocks and gives each node its block.
  ValueId (*add_base)(Graph& graph, const NetworkConfig& config, ValueId images,
                      std::vector<std::string>& blocks);
  // The weights whose channels tell the width of a file; null where there is one width alone.
  std::vector<WeightChannels> (*deciding_channels)(double width) = nullptr;
  // What the names of other families of weights are counted by.
  std::span<const Stage> stages = {};
};

}  // namespace dfengine
