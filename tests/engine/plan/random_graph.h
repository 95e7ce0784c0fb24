// Graphs that no model has, for tests that must hold for every graph.
#pragma once

#include "kernels/base/random.h"
#include "tests/engine/plan/plan_support.h"

namespace dfengine::test {

// Layers drawn at random over values of one shape with `channels` channels; loose ends are added up
// into a loss. Inputs x and targets.
inline Graph random_graph(std::uint64_t seed, Index channels) {
  Random random(seed, RandomStream::Synth, 0);
  Graph g;
  const Convolution pointwise{.in = channels, .out = channels};
  const Convolution depthwise{
      .in = channels, .out = channels, .groups = channels, .window = {.size = 3}};
  const ValueId x = g.add_input("x"), targets = g.add_input("targets");
  std::vector<ValueId> values = {g.add("first", pointwise, {x})};
  const auto any = [&] { return values[random.below(static_cast<std::uint32_t>(values.size()))]; };
  for (int i = 0; i < 8; ++i) {
    const std::string name = "l" + std::to_string(i);
    ValueId v = any();
    switch (random.below(5)) {
      case 0:
        v = g.add(name, pointwise, {v});
        break;
      case 1:
        v = g.add(name, Activate{Activation::Relu6}, {v});
        break;
      case 2:
        v = g.add(name, Add{}, {v, any()});  // v + v too
        break;
      case 3:
        v = g.add(name, depthwise, {v});
        break;
      default: {  // conv, batch norm, sometimes with the convolution's own input behind it
        const ValueId input = v;
        v = g.add(name, pointwise, {v});
        v = g.add(name + ".bn", BatchNorm{.channels = channels}, {v});
        if (random.below(2) == 0) v = g.add(name + ".add", Add{}, {v, input});
      }
    }
    values.push_back(v);
  }
  const std::vector<int> readers = g.reader_counts();
  ValueId sum = values.back();
  for (ValueId v : values)
    if (readers[at(v)] == 0 && v != values.back())
      sum = g.add("end" + std::to_string(v), Add{}, {sum, v});
  g.mark_output(sum, "sum");
  const ValueId pooled = g.add("pool", GlobalAveragePool{}, {sum});
  const ValueId logits = g.add("fc", Dense{.in = channels, .out = 1}, {pooled});
  g.mark_output(g.add("loss", BceLoss{}, {logits, targets}), "loss");
  return g;
}

}  // namespace dfengine::test
