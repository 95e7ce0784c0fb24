// MobileNetV2's names, shapes and counts against torchvision's; networks' blocks and heads.
#include "layers/networks/mobilenet_v2.h"
#include "layers/networks/architectures.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

using Shapes = std::vector<std::pair<std::string, std::vector<Index>>>;

// torchvision's blocks 1 to 17 written down as data: input, expanded and output channels.
struct Block {
  Index in, wide, out;
};
constexpr std::array<Block, 17> kBlocks = {{{32, 32, 16},
                                            {16, 96, 24},
                                            {24, 144, 24},
                                            {24, 144, 32},
                                            {32, 192, 32},
                                            {32, 192, 32},
                                            {32, 192, 64},
                                            {64, 384, 64},
                                            {64, 384, 64},
                                            {64, 384, 64},
                                            {64, 384, 96},
                                            {96, 576, 96},
                                            {96, 576, 96},
                                            {96, 576, 160},
                                            {160, 960, 160},
                                            {160, 960, 160},
                                            {160, 960, 320}}};

void conv_bn(Shapes& all, const std::string& conv, const std::string& bn,
             std::vector<Index> weight) {
  const Index k = weight[0];
  all.push_back({conv + ".weight", std::move(weight)});
  for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"})
    all.push_back({bn + part, {k}});
}

// The state dictionary of width 1.0 in torchvision's order, without num_batches_tracked.
Shapes torchvision_state() {
  Shapes all;
  conv_bn(all, "features.0.0", "features.0.1", {32, 3, 3, 3});
  for (std::size_t i = 0; i < kBlocks.size(); ++i) {
    const Block& b = kBlocks[i];
    const std::string conv = "features." + std::to_string(i + 1) + ".conv.";
    if (i == 0) {  // no expansion
      conv_bn(all, conv + "0.0", conv + "0.1", {b.wide, 1, 3, 3});
      conv_bn(all, conv + "1", conv + "2", {b.out, b.wide, 1, 1});
    } else {
      conv_bn(all, conv + "0.0", conv + "0.1", {b.wide, b.in, 1, 1});
      conv_bn(all, conv + "1.0", conv + "1.1", {b.wide, 1, 3, 3});
      conv_bn(all, conv + "2", conv + "3", {b.out, b.wide, 1, 1});
    }
  }
  conv_bn(all, "features.18.0", "features.18.1", {1280, 320, 1, 1});
  all.push_back({"classifier.1.weight", {1000, 1280}});
  all.push_back({"classifier.1.bias", {1000}});
  return all;
}

Shapes state_of(const NetworkConfig& config) {
  Shapes all;
  for (const ParamSpec& p : make_network(config).graph.params())
    all.push_back({p.name, p.file_shape});
  return all;
}

Index learned(const NetworkConfig& config) {
  Index count = 0;
  for (const ParamSpec& p : make_network(config).graph.params())
    if (is_learned(p.role)) count += p.count();
  return count;
}

TEST(MobileNetV2, NamesAndShapesAreTorchvisions) {
  const Shapes expected = torchvision_state();
  ASSERT_EQ(expected.size(), 262u);
  EXPECT_EQ(state_of({.head = Head::Classifier}), expected);
}

TEST(MobileNetV2, ParameterCountsAreTorchvisions) {
  EXPECT_EQ(learned({.head = Head::Classifier}), 3'504'872);
  EXPECT_EQ(learned({.head = Head::None}), 2'223'872);
  EXPECT_EQ(learned({.head = Head::Detector}), 2'223'872 + 164'097);
  // sum(p.numel() for p in torchvision.models.mobilenet_v2(width_mult=W).features.parameters())
  EXPECT_EQ(learned({.width = 0.1, .head = Head::None}), 86'080);
  EXPECT_EQ(learned({.width = 0.35, .head = Head::None}), 396'128);
  EXPECT_EQ(learned({.width = 0.5, .head = Head::None}), 687'680);
  EXPECT_EQ(learned({.width = 1.4, .head = Head::None}), 4'315'776);
}

TEST(MobileNetV2, RolesAndLayouts) {
  for (const ParamSpec& p : make_network({}).graph.params()) {
    EXPECT_EQ(p.channels_last, p.file_shape.size() == 4 && p.file_shape[2] == 3) << p.name;
    EXPECT_EQ(is_learned(p.role), p.name.find("running_") == std::string::npos) << p.name;
    EXPECT_EQ(p.role == Role::Weight, p.file_shape.size() > 1) << p.name;
  }
}

// Expected numbers: torchvision.models._utils._make_divisible(c * width, 8), torchvision run.
TEST(MobileNetV2, RoundedChannelsAreTorchvisions) {
  constexpr std::array<Index, 7> kChannels = {16, 24, 32, 64, 96, 160, 320};
  struct Row {
    double width;
    std::array<Index, 7> channels;
    Index pooled;
  };
  const Row rows[] = {
      {0.1, {8, 8, 8, 8, 16, 16, 32}, 1280},        {0.25, {8, 8, 8, 16, 24, 40, 80}, 1280},
      {0.35, {8, 8, 16, 24, 32, 56, 112}, 1280},    {0.5, {8, 16, 16, 32, 48, 80, 160}, 1280},
      {0.75, {16, 24, 24, 48, 72, 120, 240}, 1280}, {1.0, {16, 24, 32, 64, 96, 160, 320}, 1280},
      {1.3, {24, 32, 40, 80, 128, 208, 416}, 1664}, {1.4, {24, 32, 48, 88, 136, 224, 448}, 1792}};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < kChannels.size(); ++i)
      EXPECT_EQ(round_channels(static_cast<double>(kChannels[i]) * row.width), row.channels[i])
          << kChannels[i] << " at " << row.width;
    EXPECT_EQ(pooled_channels(row.width), row.pooled) << row.width;
  }
}

// Memory of a convolution's window [K, C, R, S] is [R, S, C, K].
TEST(MobileNetV2, WindowsLieWithTheirChannelsLast) {
  const ParamSpec p{.name = "w", .file_shape = {4, 3, 2, 5}, .init = {}, .channels_last = true};
  Index i = 0;
  for (Index k = 0; k < 4; ++k)
    for (Index c = 0; c < 3; ++c)
      for (Index r = 0; r < 2; ++r)
        for (Index s = 0; s < 5; ++s)
          EXPECT_EQ(p.memory_position(i++), ((r * 5 + s) * 3 + c) * 4 + k);
  const ParamSpec plain{.name = "w", .file_shape = {4, 3}, .init = {}};
  for (i = 0; i < plain.count(); ++i) EXPECT_EQ(plain.memory_position(i), i);
}

// ---- Blocks -------------------------------------------------------------------------------------

// The number behind "features.", as torchvision counts; -1: of the head.
int block_in_name(const std::string& name) {
  const std::string prefix = "features.";
  return name.starts_with(prefix) ? std::stoi(name.substr(prefix.size())) : -1;
}

TEST(MobileNetV2, EveryNodeKnowsItsBlock) {
  const Network network = make_network({});
  EXPECT_EQ(network.block_count(), 19);
  EXPECT_EQ(network.blocks.front(), "features.0");
  EXPECT_EQ(network.blocks.back(), "features.18");
  for (const Node& node : network.graph.nodes())
    EXPECT_EQ(node.block, block_in_name(node.name)) << node.name;
}

// Frozen blocks are counted from the image on; the head is never frozen.
TEST(MobileNetV2, TrainableAboveTheFrozenBlocks) {
  const Network network = make_network({});
  for (int frozen : {0, 1, 7, 18, 19}) {
    const Trainable trainable = network.trainable_above(frozen);
    for (const ParamSpec& p : network.graph.params()) {
      const int block = block_in_name(p.name);
      EXPECT_EQ(trainable(p), block < 0 || block >= frozen) << p.name << " above " << frozen;
    }
  }
}

// Rewrites keep what a block is.
TEST(MobileNetV2, RewritesKeepBlocks) {
  const Graph whole = make_network({}).graph;
  const Graph graph = with_element(with_loss(whole), Element::F16);
  constexpr Fusion kFusions[] = {fold_norm, fold_activation, fold_residual};
  const std::vector<bool> none(graph.values().size(), false);
  for (const Graph& g : {graph, fuse(graph, kFusions, none), up_to(whole, "pooled")})
    for (const Node& node : g.nodes()) EXPECT_EQ(node.block, block_in_name(node.name)) << node.name;
}

TEST(Networks, AnArchitectureThatIsNotInTheTable) {
  EXPECT_THROW((void)make_network({.architecture = "vgg"}), UsageError);
  EXPECT_THROW((void)make_network({}, {}), UsageError);
}

// ---- The whole ----------------------------------------------------------------------------------

TEST(MobileNetV2, ShapesThroughTheNetwork) {
  const Network network = make_network({});
  const Graph& graph = network.graph;
  const Index h = 224;
  const auto specs = graph.infer(std::vector<Spec>{{{2, h, h, 3}, Element::U8}});
  // Strides of Table 2: 112 behind the stem, then 112, 56, 28, 14, 14, 7, 7.
  const std::array<Index, 19> sides = {112, 112, 56, 56, 28, 28, 28, 14, 14, 14,
                                       14,  14,  14, 14, 7,  7,  7,  7,  7};
  for (const Node& node : graph.nodes()) {
    if (node.block < 0) continue;
    // Blocks 2, 4, 7 and 14 begin at their predecessor's size: the expansion.
    const bool expansion = node.name.find(".conv.0.") != std::string::npos && node.block > 1;
    const Index side = sides[at(expansion ? node.block - 1 : node.block)];
    EXPECT_EQ(specs[at(node.output)].shape.h, side) << node.name;
    EXPECT_EQ(specs[at(node.output)].shape.w, side) << node.name;
  }
  EXPECT_EQ(network.features, 1280);
  EXPECT_EQ(specs[at(graph.output("pooled"))].shape, (Shape{2, 1, 1, 1280}));
  EXPECT_EQ(specs[at(graph.output("logits"))].shape, (Shape{2, 1, 1, 1}));
}

// The same parameters, twice the sides everywhere behind the stem.
TEST(MobileNetV2, AStemOfStrideOneKeepsEveryPixel) {
  NetworkConfig config;
  const Network two = make_network(config);
  config.stem_stride = 1;
  const Network one = make_network(config);
  const auto names = [](const Network& network) {
    std::vector<std::pair<std::string, std::vector<Index>>> all;
    for (const ParamSpec& p : network.graph.params()) all.emplace_back(p.name, p.file_shape);
    return all;
  };
  EXPECT_EQ(names(one), names(two));
  const std::vector<Spec> small = two.graph.infer(std::span(&two.image, 1)),
                          large = one.graph.infer(std::span(&one.image, 1));
  ASSERT_EQ(small.size(), large.size());
  for (std::size_t i = 2; i < small.size(); ++i) {
    if (small[i].shape.h == 1) continue;  // from the pool on
    EXPECT_EQ(large[i].shape.h, 2 * small[i].shape.h) << two.graph.values()[i].name;
    EXPECT_EQ(large[i].shape.c, small[i].shape.c);
  }
  // torchvision states 0.3 G multiply-adds with its classifier of 1000 classes.
  config = {.head = Head::Classifier};
  const Network classifier = make_network(config);
  EXPECT_EQ(multiply_adds(classifier.graph, classifier.image), 300774272);
  EXPECT_GT(multiply_adds(one.graph, one.image), 39 * multiply_adds(two.graph, two.image) / 10);
  config.stem_stride = 3;
  EXPECT_THROW(config.validate(), UsageError);
}

TEST(MobileNetV2, RatesFallFromTheHeadOn) {
  const Network network = make_network({});
  const auto rate = network.rates(0.5);
  for (const ParamSpec& p : network.graph.params()) {
    const auto block = p.name.starts_with("features.") ? std::stoi(p.name.substr(9)) : 19;
    EXPECT_EQ(rate(p), std::pow(0.5, 19 - block)) << p.name;
  }
}

TEST(MobileNetV2, ResidualsStandWhereShapesAgree) {
  std::vector<int> blocks;
  const Network network = make_network({});
  for (const Node& node : network.graph.nodes())
    if (std::holds_alternative<Add>(node.operation)) blocks.push_back(node.block);
  EXPECT_EQ(blocks, (std::vector<int>{3, 5, 6, 8, 9, 10, 12, 13, 15, 16}));
}

Graph head_of(const NetworkConfig& config) {
  return behind(make_network(config).graph, "pooled");
}

TEST(MobileNetV2, HeadsAndTheirOutputs) {
  const Graph headless = make_network({.head = Head::None}).graph;
  EXPECT_THROW((void)headless.output("logits"), UsageError);
  EXPECT_THROW((void)with_loss(headless), UsageError);
  EXPECT_TRUE(head_of({.head = Head::None}).nodes().empty());
  const auto kinds = [](const NetworkConfig& config) {
    std::vector<std::string> all;
    const Graph graph = head_of(config);
    for (const Node& node : graph.nodes()) all.push_back(kind(node.operation));
    return all;
  };
  using Kinds = std::vector<std::string>;
  EXPECT_EQ(kinds({}), (Kinds{"dense+relu", "dropout", "dense"}));
  EXPECT_EQ(kinds({.dropout = 0}), (Kinds{"dense+relu", "dense"}));
  EXPECT_EQ(kinds({.head = Head::Classifier}), (Kinds{"dense"}));
  const Graph training = with_loss(head_of({}));
  const auto specs = training.infer(std::vector<Spec>{{{4, 1, 1, 1280}}, {{4, 1, 1, 1}}});
  EXPECT_EQ(specs[at(training.output("loss"))].shape, (Shape{1, 1, 1, 1}));
}

// A classifier's many logits do not fit the detector's loss.
TEST(MobileNetV2, TrainingAClassifierIsAShapeError) {
  const Graph graph = with_loss(head_of({.head = Head::Classifier}));
  EXPECT_THROW((void)graph.infer(std::vector<Spec>{{{4, 1, 1, 1280}}, {{4, 1, 1, 1}}}), ShapeError);
}

void expect_invalid(const NetworkConfig& config, const std::string& word) {
  try {
    config.validate();
    ADD_FAILURE() << "accepted: " << word;
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
  }
}

TEST(MobileNetV2, ConfigurationsOutOfRange) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  EXPECT_NO_THROW(NetworkConfig{}.validate());
  for (double width : {0.0, -1.0, 4.1, nan, infinity}) expect_invalid({.width = width}, "width");
  for (Index size : {0, -96, 64, 100, 352})
    expect_invalid({.input_size = size}, "input size " + std::to_string(size));
  for (Index size : {96, 320}) EXPECT_NO_THROW(NetworkConfig{.input_size = size}.validate());
  for (double eps : {0.0, -1e-5, nan, infinity}) expect_invalid({.bn_eps = eps}, "epsilon");
  for (double momentum : {0.0, 1.1, nan}) expect_invalid({.bn_momentum = momentum}, "momentum");
  for (double mean : {nan, infinity, 123.675, -3.0}) expect_invalid({.mean = {0, mean, 0}}, "mean");
  for (double s : {0.0, -1.0, nan, infinity, 58.395})
    expect_invalid({.std_dev = {1, 1, s}}, "deviation");
  for (double rate : {-0.1, 1.0, nan}) expect_invalid({.dropout = rate}, "dropout");
  expect_invalid({.head = Head::Classifier, .classes = 0}, "classes");
  expect_invalid({.head = Head::Detector, .hidden = 0}, "hidden");
}

}  // namespace
}  // namespace dfengine
