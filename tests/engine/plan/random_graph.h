// Graphs that no model has, for tests that must hold for every graph.
#pragma once

#include "kernels/base/random.h"
#include "layers/batch_norm.h"
#include "layers/depthwise_conv.h"
#include "layers/elementwise.h"
#include "layers/head.h"
#include "layers/pointwise_conv.h"
#include "tests/engine/plan/plan_support.h"

namespace dfengine::test {

// Layers drawn at random over values of one shape with `channels` channels; loose ends are added up
// into a loss. Inputs x and targets.
inline Graph random_graph(std::uint64_t seed, Index channels) {
  Random random(seed, RandomStream::Synth, 0);
  Graph g;
  const ValueId x = g.add_input("x"), targets = g.add_input("targets");
  std::vector<ValueId> values = {
      g.add(std::make_shared<PointwiseConv>("first", "first.weight", channels, channels), {x})};
  const auto any = [&] { return values[random.below(static_cast<std::uint32_t>(values.size()))]; };
  for (int i = 0; i < 8; ++i) {
    const std::string name = "l" + std::to_string(i);
    const auto conv = [&](ValueId v) {
      return g.add(std::make_shared<PointwiseConv>(name, name + ".weight", channels, channels),
                   {v});
    };
    ValueId v = any();
    switch (random.below(5)) {
      case 0:
        v = conv(v);
        break;
      case 1:
        v = g.add(std::make_shared<ActivationLayer>(name, Activation::Relu6), {v});
        break;
      case 2:
        v = g.add(std::make_shared<ResidualAdd>(name), {v, any()});  // v + v too
        break;
      case 3:
        v = g.add(
            std::make_shared<DepthwiseConv>(name, name + ".weight", channels, 1, Padding::Torch),
            {v});
        break;
      default: {  // conv, batch norm, sometimes with the convolution's own input behind it
        const ValueId input = v;
        v = g.add(std::make_shared<BatchNorm>(name + ".bn", channels, BatchNormOptions{}),
                  {conv(v)});
        if (random.below(2) == 0)
          v = g.add(std::make_shared<ResidualAdd>(name + ".add"), {v, input});
      }
    }
    values.push_back(v);
  }
  const std::vector<int> readers = g.consumer_counts();
  ValueId sum = values.back();
  for (ValueId v : values)
    if (readers[at(v)] == 0 && v != values.back())
      sum = g.add(std::make_shared<ResidualAdd>("end" + std::to_string(v)), {sum, v});
  g.mark_output(sum, "sum");
  const ValueId pooled = g.add(std::make_shared<GlobalAveragePool>("pool"), {sum});
  const ValueId logits =
      g.add(std::make_shared<Dense>("fc", channels, 1, Activation::None), {pooled});
  g.mark_output(g.add(std::make_shared<BceLoss>("loss"), {logits, targets}), "loss");
  return g;
}

}  // namespace dfengine::test
