// What a network's folded convolutions give on pictures like those that it will see.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/model/model.h"
#include "engine/runtime/session.h"

namespace dfengine {

class Calibration {
 public:
  // Both must outlive it. UsageError unless the backend computes on the CPU in float.
  Calibration(const Model& model, const Backend& backend);

  // The folded graph (layers/quantize.h), and its convolutions in the order they run.
  const Graph& graph() const { return graph_; }
  std::vector<const Node*> convolutions() const;

  // images [n, size, size, 3] uint8 RGB. For every picture, visit(i, values): what the i-th
  // convolution gives, [pixels, channels].
  using Visit = std::function<void(std::size_t i, std::span<const float> values)>;
  void run(const std::uint8_t* images, Index n, const Visit& visit);

 private:
  const Model& model_;
  const Backend& backend_;
  Graph graph_;
  ParameterBlock parameters_;
  Session session_;
};

}  // namespace dfengine
