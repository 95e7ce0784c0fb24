// Plans whose stem normalises the pixels as it loads them: which do, and that the CPU's double,
// which makes them in scratch, agrees with the two layers.
#include <gtest/gtest.h>

#include "engine/runtime/cuda/cuda_backend.h"
#include "tests/engine/plan/plan_support.h"

namespace dfengine::test {
namespace {

bool normalises_apart(const Graph& graph, Element element, const PlanOptions& options,
                      const KernelMaker& maker) {
  const bool trains = options.phase == Phase::Train;
  const Plan plan = Plan::build(graph, batch_specs(2, 64, trains ? Element::F32 : element, trains),
                                options, maker);
  return std::ranges::any_of(plan.graph().nodes(), [](const Node& node) {
    return std::holds_alternative<ImageNormalize>(node.operation);
  });
}

TEST(PixelsOnLoadPlan, StemsOfDevicesTakeThemInSixteenBits) {
  const CudaKernelMaker device;
  for (const bool sliced : {false, true}) {
    const PlanOptions trains{.phase = Phase::Train, .trainable = everything(), .sliced = sliced};
    for (const Element e : {Element::F16, Element::BF16, Element::F32}) {
      EXPECT_EQ(normalises_apart(training_graph(tiny_config(), e), e, trains, device),
                e == Element::F32);
    }
    EXPECT_TRUE(
        normalises_apart(training_graph(tiny_config()), Element::F32, trains, cpu_backend()));
  }
}

// A frozen stem, too, where the first block is not one kernel: of stride 1 there is none.
TEST(PixelsOnLoadPlan, FrozenStemsTakeThem) {
  const CudaKernelMaker device;
  NetworkConfig config = tiny_config();
  config.stem_stride = 1;
  EXPECT_FALSE(normalises_apart(network_graph(config, Element::F16), Element::F16,
                                {.phase = Phase::Infer}, device));
  EXPECT_TRUE(normalises_apart(network_graph(config), Element::F32, {.phase = Phase::Infer},
                               cpu_backend()));
}

// One batch of pixels through a layer that is made of one or two operations.
struct Layer {
  Convolution conv{.in = 3, .out = 8, .window = {.size = 3, .stride = 2}};
  Spec pixels{{2, 9, 7, 3}, Element::U8};
  std::vector<std::uint8_t> bytes = random_integers<std::uint8_t>(pixels.shape.count(), 1, 0, 255);
  Doubles weights = random_uniform<double>(27 * conv.out, 2);

  std::vector<Doubles> run(const Operation& operation, const Spec& in, const void* x) const {
    const Node node{.name = "stem", .operation = operation, .inputs = {}};
    const Spec out = infer(operation, node.name, std::span(&in, 1));
    const Kernel kernel =
        cpu_backend(Element::F64)
            .make(node,
                  {.phase = Phase::Train, .backward = true, .in = std::span(&in, 1), .out = out});
    Doubles y(at(out.shape.count())), dw(weights.size()),
        dy = random_uniform<double>(out.shape.count(), 3);
    std::vector<std::byte> scratch(
        at(std::max(kernel.needs.forward_scratch, kernel.needs.backward_scratch)));
    const StepContext ctx{cpu_backend(Element::F64).queue(), nullptr, nullptr};
    const std::vector<ConstPlace> working = {{weights.data()}};
    ForwardIo forward;
    forward.x[0] = {x};
    forward.y = {y.data()};
    forward.scratch = {scratch.data()};
    forward.params = forward.working = working;
    kernel.forward(ctx, forward);
    if (!kernel.backward) return {y};
    const std::vector<Place> gradients = {{dw.data()}};
    BackwardIo backward;
    backward.x[0] = {x};
    backward.dy = {dy.data()};
    backward.scratch = {scratch.data()};
    backward.params = backward.working = working;
    backward.dparams = gradients;
    kernel.backward(ctx, backward);
    return {y, dw};
  }
};

TEST(PixelsOnLoad, TheCpuGivesTheBitsOfTwoLayers) {
  const Layer layer;
  const ImageNormalize normalize{
      .mean = {.485, .456, .406}, .std_dev = {.229, .224, .225}, .element = Element::F64};
  const Doubles values = layer.run(normalize, layer.pixels, layer.bytes.data())[0];
  Convolution of_pixels = layer.conv;
  of_pixels.normalize = normalize;
  EXPECT_EQ(layer.run(of_pixels, layer.pixels, layer.bytes.data()),
            layer.run(layer.conv, {layer.pixels.shape, Element::F64}, values.data()));
}

}  // namespace
}  // namespace dfengine::test
