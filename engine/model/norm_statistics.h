// Batch norm statistics measured anew, for weights that no training step has seen together.
#pragma once

#include "engine/model/model.h"
#include "engine/runtime/session.h"

namespace dfengine {

// The number of first blocks whose parameters, running statistics included, are the same bits in
// all models, which must be of one network: what no run trained, or none another way. Their
// statistics are those of the mean, too. At least one model.
int alike_blocks(std::span<const Model> models);

// Runs batches through the network as training does, each normalised by its own statistics, and
// gives the model the plain mean of all batches' statistics: PyTorch's update_bn (momentum None).
class NormEstimator {
 public:
  // Both must outlive it. Batches have `batch` pictures. The norms of the first `kept` blocks use
  // their running statistics, and keep them. UsageError unless the backend computes in the host's
  // memory and in float.
  NormEstimator(Model& model, const Backend& backend, Index batch, int kept = 0);

  // images [batch, size, size, 3] uint8 RGB.
  void add(const std::uint8_t* images);
  // Writes the running statistics. DataError where no batch was added.
  void finish();

 private:
  Model& model_;
  const Backend& backend_;
  Index batch_, batches_ = 0;
  Graph graph_;
  Trainable measured_;
  ParameterBlock parameters_;
  Session session_;
  std::vector<std::vector<double>> sums_;  // of each parameter; empty for learned ones
};

}  // namespace dfengine
