// A training step, the same on every backend: forward, record, backward, reduce, check, update. It
// is queued as one; the host neither waits nor looks until it collects results.
#pragma once

#include <string>

#include "engine/runtime/session.h"

namespace dfengine {

// Sums over steps.
struct StepSums {
  Index n = 0;
  double loss = 0;
  Index right = 0;  // at probability 0.5
};

// What of a run's state is kept between steps beside parameters and moments.
struct ScalerState {
  std::uint64_t step = 0;  // optimiser steps applied
  std::uint64_t skipped = 0;
  float loss_scale = 1.0f;
  std::uint32_t good_steps = 0;
  bool operator==(const ScalerState&) const = default;
};
// Where a run begins whose activations have this element.
ScalerState initial_scaler(Element element);

struct TrainingOptions {
  Index batch = 0;  // samples of a step at most
  Index rest = 0;   // samples of an epoch's last step, 0: as many
  Trainable trainable;
  AdamProblem adam;         // betas, eps, decoupled
  double weight_decay = 0;  // on weights alone
  // Waits after every layer and throws at the first number that is not finite (finite_check.h).
  // Gradients in fp16 may overflow: the loss scale sees to them.
  bool check_finite = false;
};

class Training {
 public:
  // graph: a first input (per sample as `sample`, n = 1) and "targets"; outputs "logits" and
  // "loss". store is trained: on the CPU by every step, elsewhere by download(). It and backend
  // must outlive this. UsageError where the backend's parameters are not floats.
  Training(const Graph& graph, Spec sample, ParameterStore& store, const Backend& backend,
           const TrainingOptions& options);

  // Queues one step on n <= batch samples, n > 0; has read the host memory when it returns. A size
  // that is neither `batch` nor `rest` waits for its plan, which the next such size replaces.
  void step(const void* samples, const float* targets, Index n, const StepInput& input);
  // Queues the same step on what lies in the backend's memory already, with the last step's input:
  // for measurements.
  void step_resident(ConstPlace samples, ConstPlace targets, Index n);
  // Waits for what is queued; sums of the steps since the last call.
  StepSums collect();
  // Collects when so many steps were queued that reading costs nothing.
  StepSums collect_at_times();

  // All wait. Values come to the store, and are taken from it again.
  ScalerState download();
  Moments moments() const { return parameters_.moments(); }
  void upload(const Moments& moments, const ScalerState& scaler);

  const Session::Bound& bound(Index n) { return session_.bound(n); }
  const ParameterBlock& parameters() const { return parameters_; }
  Index bytes() const;

 private:
  void queue(const Session::Bound& bound, Index n);
  void launch(Session::Bound& bound, Index n);
  StepWatch finite_watch() const;
  StepScalars scalars() const;
  void put(const StepScalars& scalars);
  StepScalars* scalars_place() const { return Place{scalars_.get()}.as<StepScalars>(); }

  const Backend& backend_;
  TrainingOptions options_;
  std::string input_;
  Spec sample_;
  Index target_bytes_;
  ParameterStore& store_;
  ParameterBlock parameters_;
  Session session_;
  OwnedMemory step_input_, scalars_, records_;
  std::unique_ptr<Feed> feed_;
  std::function<void()> update_;
  std::vector<Index> pending_;  // batch sizes of steps whose records were not read
  StepSums sums_;
};

}  // namespace dfengine
