// The set of operations is closed: every one has a kind, parameters, a form, and a kernel on every
// backend or a refusal that names the layer.
#include <gtest/gtest.h>

#include <set>

#include "engine/runtime/cuda/cuda_backend.h"
#include "kernels/base/error.h"
#include "tests/engine/plan/plan_support.h"

namespace dfengine::test {
namespace {

constexpr Index kChannels = 8;

struct Example {
  Operation operation;
  std::vector<Spec> in;
  bool on_cpu = true, on_devices = true;
  bool head = false;  // in float on devices
};

// One of every alternative, and of every form that has a kernel of its own.
std::vector<Example> examples(Element e) {
  const Spec x{{2, 6, 6, kChannels}, e}, rgb{{2, 6, 6, 3}, e}, vector{{2, 1, 1, kChannels}, e};
  const Spec one{{2, 1, 1, 1}, e}, on_load{{1, 1, 3, kChannels}, Element::F32};
  const Convolution pointwise{.in = kChannels, .out = kChannels};
  const Convolution depthwise{
      .in = kChannels, .out = kChannels, .groups = kChannels, .window = {.size = 3}};
  const Convolution stem{.in = 3, .out = kChannels, .window = {.size = 3, .stride = 2}};
  const Norm norm{.name = "bn"};
  std::vector<Example> all = {
      {ImageNormalize{.element = e}, {{{2, 6, 6, 3}, Element::U8}}},
      {pointwise, {x}},
      {depthwise, {x}},
      {stem, {rgb}},
      {BatchNorm{.channels = kChannels}, {x}},
      {BatchNorm{.channels = kChannels, .frozen_statistics = true}, {x}},
      {BatchNorm{.channels = kChannels, .output = NormOutput::OnLoad}, {x}, false},
      {BatchNorm{.channels = kChannels, .frozen_statistics = true, .output = NormOutput::OnLoad},
       {x},
       false},
      {Activate{Activation::Relu6}, {x}},
      {Add{}, {x, x}},
      {Dropout{0.5}, {vector}, true, true, true},
      {GlobalAveragePool{}, {x}},
      {Dense{.in = kChannels, .out = 3}, {vector}, true, true, true},
      {BceLoss{}, {one, one}, true, true, true}};
  for (Convolution conv : {pointwise, depthwise}) {
    conv.norm_on_load = Activation::Relu6;
    all.push_back({conv, {x, on_load}, false});
  }
  Convolution with_moments = pointwise;
  with_moments.makes_moments = true;
  all.push_back({with_moments, {x}, false, element_size(e) == 2});
  all.push_back({BatchNorm{.channels = kChannels, .moments_given = true}, {x}, false});
  for (Convolution conv : {pointwise, depthwise, stem}) {
    const Spec in = conv.in == 3 ? rgb : x;
    conv.norm = norm;
    all.push_back({conv, {in}});
    conv.activation = Activation::Relu6;
    all.push_back({conv, {in}});
    conv.residual = true;
    all.push_back({conv, {in, infer(pointwise, "", std::vector{x})}});
    all.back().in[1].shape = conv.in == 3 ? Shape{2, 3, 3, kChannels} : x.shape;
  }
  InvertedResidual block{.expand = {"layer.e", pointwise},
                         .depthwise = {"layer.d", depthwise},
                         .project = {"layer.p", pointwise}};
  block.expand.conv.norm = {.name = "bn.e"};
  block.depthwise.conv.norm = {.name = "bn.d"};
  block.project.conv.norm = {.name = "bn.p"};
  block.expand.conv.activation = block.depthwise.conv.activation = Activation::Relu6;
  const bool narrow = element_size(e) == 2;
  all.push_back({block, {x}, true, narrow});
  block.expand.conv = stem;
  block.expand.conv.norm = {.name = "bn.e"};
  block.expand.conv.activation = Activation::Relu6;
  block.expand.conv.normalize = ImageNormalize{.element = e};
  all.push_back({block, {{{2, 6, 6, 3}, Element::U8}}, true, narrow});
  Convolution filter = depthwise;
  filter.makes_moments = true;
  all.push_back({ExpandDepthwise{.expand = {"layer.e", pointwise},
                                 .norm_name = "bn.e",
                                 .norm = {.channels = kChannels},
                                 .depthwise = {"layer.d", filter}},
                 {x},
                 false,
                 narrow});
  const Spec bytes{x.shape, Element::U8}, pixels{rgb.shape, Element::U8};
  Convolution of_pixels = stem;
  of_pixels.normalize = ImageNormalize{.element = e};
  all.push_back({of_pixels, {pixels}, true, narrow});
  const Quantization output{.scale = .1f};
  for (const Convolution& conv : {pointwise, depthwise})
    all.push_back({QuantizedConvolution{conv, output}, {bytes}, true, false});
  all.push_back({QuantizedConvolution{stem, output}, {pixels}, true, false});
  Convolution added = pointwise;
  added.residual = true;
  all.push_back({QuantizedConvolution{added, output}, {bytes, bytes}, true, false});
  for (Window window : {Window{.size = 5}, Window{.size = 1, .stride = 2}, Window{.size = 3}})
    all.push_back(
        {QuantizedConvolution{{.in = kChannels, .out = kChannels, .window = window}, output},
         {bytes},
         false,
         false});
  // Windows and groups that no kernel is for.
  for (Window window : {Window{.size = 5}, Window{.size = 1, .stride = 2}, Window{.size = 3}})
    all.push_back(
        {Convolution{.in = kChannels, .out = kChannels, .window = window}, {x}, false, false});
  all.push_back({Convolution{.in = kChannels, .out = kChannels, .groups = 2}, {x}, false, false});
  return all;
}

bool inference_only(const Operation& operation) {
  if (std::holds_alternative<InvertedResidual>(operation) ||
      std::holds_alternative<QuantizedConvolution>(operation))
    return true;
  const auto* conv = std::get_if<Convolution>(&operation);
  return conv != nullptr && conv->inference_form();
}

bool training_only(const Operation& operation) {
  return std::holds_alternative<ExpandDepthwise>(operation);
}

// What a kernel books makes sense for its values.
void expect_sound(const Kernel& kernel, const Example& example, const KernelQuery& query) {
  const Needs& needs = kernel.needs;
  EXPECT_TRUE(kernel.forward);
  for (Index bytes : {needs.prepared, needs.saved, needs.forward_scratch, needs.backward_scratch})
    EXPECT_GE(bytes, 0);
  if (needs.prepared > 0) {
    EXPECT_TRUE(kernel.prepare);
    EXPECT_FALSE(query.backward) << "weights move";
  }
  ASSERT_LT(needs.overwrites_input, std::ssize(example.in));
  if (needs.overwrites_input >= 0) {
    EXPECT_EQ(example.in[at(needs.overwrites_input)].bytes(), query.out.bytes());
  }
  if (!query.backward) {
    if (inference_only(example.operation)) {
      EXPECT_FALSE(kernel.backward) << "it has no gradient";
    }
    return;
  }
  const bool learns = std::ranges::any_of(params(example.operation, "layer"),
                                          [](const ParamSpec& p) { return is_learned(p.role); });
  bool passes = false;
  for (std::size_t k = 0; k < example.in.size(); ++k)
    passes |= passes_gradient(example.operation, k);
  EXPECT_EQ(static_cast<bool>(kernel.backward), learns || passes);
}

void expect_made_or_refused(const KernelMaker& maker, const Example& example, bool has_kernel,
                            const KernelQuery& query) {
  const Node node{.name = "a.layer", .operation = example.operation, .inputs = {}, .output = 0};
  SCOPED_TRACE(kind(example.operation) + (query.backward ? " with backward" : "") +
               (query.phase == Phase::Train ? " in training" : ""));
  if (has_kernel) {
    expect_sound(maker.make(node, query), example, query);
    return;
  }
  try {
    (void)maker.make(node, query);
    ADD_FAILURE() << "made";
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("layer a.layer"), std::string::npos) << e.what();
  }
}

TEST(Operations, EveryAlternativeHasAKernelOrIsRefused) {
  const CudaKernelMaker device;
  for (Element e : {Element::F64, Element::F32, Element::F16, Element::BF16}) {
    std::set<std::size_t> seen;
    for (const Example& example : examples(e)) {
      seen.insert(example.operation.index());
      const Spec out = infer(example.operation, "layer", example.in);
      for (Phase phase : {Phase::Infer, Phase::Train})
        for (bool backward : {false, true}) {
          const KernelQuery query{phase, backward, example.in, out};
          const bool can = !(backward && inference_only(example.operation)) &&
                           !(phase == Phase::Infer && training_only(example.operation));
          const bool wide = e == Element::F32 || !example.head;
          if (e == Element::F32 || e == Element::F64)
            expect_made_or_refused(cpu_backend(e), example, example.on_cpu && can, query);
          if (e != Element::F64)
            expect_made_or_refused(device, example, example.on_devices && can && wide, query);
        }
    }
    EXPECT_EQ(seen.size(), std::variant_size_v<Operation>) << "an alternative without an example";
  }
}

TEST(Operations, EveryAlternativeHasAKindAndItsParameters) {
  std::set<std::string> kinds;
  for (const Example& example : examples(Element::F32)) {
    const std::string word = kind(example.operation);
    EXPECT_FALSE(word.empty());
    kinds.insert(word);
    const std::vector<ParamSpec> all = params(example.operation, "layer");
    std::set<std::string> names;
    for (const ParamSpec& p : all) {
      EXPECT_TRUE(p.name.starts_with("layer.") || p.name.starts_with("bn."))
          << word << " " << p.name;
      EXPECT_TRUE(names.insert(p.name).second) << word << " " << p.name << " twice";
      EXPECT_GT(p.count(), 0);
    }
    const bool has_parameters = std::holds_alternative<Convolution>(example.operation) ||
                                std::holds_alternative<QuantizedConvolution>(example.operation) ||
                                std::holds_alternative<InvertedResidual>(example.operation) ||
                                std::holds_alternative<BatchNorm>(example.operation) ||
                                std::holds_alternative<ExpandDepthwise>(example.operation) ||
                                std::holds_alternative<Dense>(example.operation);
    EXPECT_EQ(!all.empty(), has_parameters) << word;
  }
  EXPECT_GE(kinds.size(), std::variant_size_v<Operation>);
}

// Elements that a backend does not compute in.
TEST(Operations, ElementsOfTheOtherBackend) {
  const Node node{.name = "add", .operation = Add{}, .inputs = {}, .output = 0};
  for (Element e : {Element::F16, Element::F64}) {
    const std::vector<Spec> in(2, Spec{{2, 6, 6, kChannels}, e});
    const KernelQuery query{Phase::Infer, false, in, in[0]};
    if (e == Element::F64) {
      EXPECT_THROW((void)CudaKernelMaker().make(node, query), Error);
    } else {
      EXPECT_THROW((void)cpu_backend().make(node, query), Error);
    }
  }
}

TEST(Operations, BatchNormRefusesToTrainOnOneValue) {
  const std::vector<Spec> one = {{{1, 1, 1, kChannels}}};
  const auto make = [&](const KernelMaker& maker, bool frozen, Phase phase) {
    const BatchNorm norm{.channels = kChannels, .frozen_statistics = frozen};
    const Node node{.name = "features.18.1", .operation = norm, .inputs = {}, .output = 0};
    (void)maker.make(node, {phase, phase == Phase::Train, one, one[0]});
  };
  const CudaKernelMaker device;
  for (const KernelMaker* maker : {static_cast<const KernelMaker*>(&device),
                                   static_cast<const KernelMaker*>(&cpu_backend())}) {
    try {
      make(*maker, false, Phase::Train);
      ADD_FAILURE() << "accepted";
    } catch (const ShapeError& e) {
      EXPECT_NE(std::string(e.what()).find("features.18.1"), std::string::npos) << e.what();
    }
    EXPECT_NO_THROW(make(*maker, false, Phase::Infer));
    EXPECT_NO_THROW(make(*maker, true, Phase::Train));
  }
}

}  // namespace
}  // namespace dfengine::test
