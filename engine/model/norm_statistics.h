// Batch norm statistics measured anew, for weights that no training step has seen together.
#pragma once

#include "engine/model/model.h"
#include "engine/runtime/session.h"

namespace dfengine {

// Runs batches through the network as training does, each normalised by its own statistics, and
// gives the model the plain mean of all batches' statistics: PyTorch's update_bn (momentum None).
class NormEstimator {
 public:
  // Both must outlive it. Batches have `batch` pictures. UsageError unless the backend computes in
  // the host's memory and in float.
  NormEstimator(Model& model, const Backend& backend, Index batch);

  // images [batch, size, size, 3] uint8 RGB.
  void add(const std::uint8_t* images);
  // Writes the running statistics. DataError where no batch was added.
  void finish();

 private:
  Model& model_;
  const Backend& backend_;
  Index batch_, batches_ = 0;
  Graph graph_;
  ParameterBlock parameters_;
  Session session_;
  std::vector<std::vector<double>> sums_;  // of each parameter; empty for learned ones
};

}  // namespace dfengine
