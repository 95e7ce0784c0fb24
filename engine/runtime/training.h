// A training step, the same on every backend: forward, record, backward, reduce, check, update. It
// is queued as one; the host neither waits nor looks until it collects results.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "engine/runtime/ranks/slices.h"

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
  // Each parameter's part of the learning rate; empty: all of it.
  std::function<double(const ParamSpec&)> rate = {};
  double clip_grad = 0;          // the greatest norm of all gradients together; 0: any
  bool gathers = false;          // steps may wait (StepEnd::Wait)
  bool averages = false;         // keeps a moving average, which upload_average must give first
  bool grad_checkpoint = false;  // PlanOptions::grad_checkpoint
  Cut cut;                       // of every batch; the ranks it names must outlive the training
  // Waits after every layer and throws at the first number that is not finite (finite_check.h).
  // Gradients in fp16 may overflow: the loss scale sees to them.
  bool check_finite = false;
};

// What becomes of a step's gradients: with those that waited they move the parameters, or they wait
// for the next steps'. Running statistics move either way.
enum class StepEnd { Update, Wait };

class Training {
 public:
  // graph: a first input (per sample as `sample`, n = 1) and "targets"; outputs "logits" and
  // "loss". store is trained: on the CPU by every step, elsewhere by download(). It and backend
  // must outlive this. UsageError where the backend's parameters are not floats.
  Training(const Graph& graph, Spec sample, ParameterStore& store, const Backend& backend,
           const TrainingOptions& options);

  // Queues one step on n <= batch samples, n > 0; has read the host memory when it returns. A size
  // that is neither `batch` nor `rest` waits for its plan, which the next such size replaces.
  // gradient_scale of the input is not read: an update takes the mean of the steps' gradients.
  void step(const void* samples, const float* targets, Index n, const StepInput& input,
            StepEnd end = StepEnd::Update);
  // The same where batches are cut: on every rank at once, with its slices, whose pictures lie one
  // slice after the other. whole: pictures of all slices of all ranks, above 0.
  void step(const void* samples, const float* targets, std::span<const Slice> slices, Index whole,
            const StepInput& input, StepEnd end = StepEnd::Update);
  // How many steps' gradients wait; and drops them.
  Index waiting() const { return waiting_; }
  void forget_waiting();
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
  // As ParameterBlock's, between steps.
  void upload_average(std::span<const float> average) { parameters_.upload_average(average); }
  void download_average(std::span<float> to) const { parameters_.download_average(to); }

  const Session::Bound& bound(Index n) { return session_.bound(n); }
  const ParameterBlock& parameters() const { return parameters_; }
  Index bytes() const;

 private:
  StepContext context() const;
  StepInput scaled(const StepInput& input, StepEnd end);
  void queue(const Session::Bound& bound, Index n, StepEnd end);
  void queue_end(StepEnd end);
  void queue_update();
  void launch(Session::Bound& bound, Index n, StepEnd end);
  void count(Index n);
  StepWatch finite_watch() const;
  StepScalars scalars() const;
  void put(const StepScalars& scalars);
  StepScalars* scalars_place() const { return Place{scalars_.get()}.as<StepScalars>(); }

  const Backend& backend_;
  TrainingOptions options_;
  std::string input_;
  Spec sample_;
  ParameterStore& store_;
  ParameterBlock parameters_;
  Session session_;  // of whole batches
  OwnedMemory step_input_, scalars_, records_;
  OwnedMemory gradient_sum_, clip_scratch_;  // where options ask for them
  std::unique_ptr<Feed> feed_;
  std::function<void()> update_, commit_;  // the second of running statistics alone
  Index waiting_ = 0;
  std::vector<Index> pending_;  // batch sizes of steps whose records were not read
  StepSums sums_;
  // Where batches are cut. It goes first: see ~Slices.
  std::unique_ptr<Slices> slices_;
};

}  // namespace dfengine
