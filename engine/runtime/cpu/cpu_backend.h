// The CPU as a backend: threads of a pool, ordinary memory, everything done when it is queued.
#pragma once

#include "engine/runtime/backend.h"

namespace dfengine {

class CpuBackend final : public Backend {
 public:
  // pool must outlive the backend. F64 is the oracle of the tests. BF16 throws UsageError on a CPU
  // without it, and F16 on every CPU.
  explicit CpuBackend(ThreadPool& pool, Element element = Element::F32);

  Kernel make(const Node& node, const KernelQuery& query) const override;

  DeviceKind kind() const override { return DeviceKind::Cpu; }
  Element element() const override { return element_; }
  Element working_element() const override { return parameter_element(); }
  Element parameter_element() const override {
    return element_ == Element::BF16 ? Element::F32 : element_;
  }
  bool computes_in_host_memory() const override { return true; }
  Index alignment() const override { return 1; }
  // More would push the widest activations out of the caches without making any kernel's work
  // better (bench/NOTES.md, "Pictures side by side").
  Index inference_batch(Index) const override { return 1; }
  // A picture a thread: no thread waits for another between two layers.
  int lanes() const override { return pool_.size(); }
  void side_by_side(Index n, const LaneBody& body) const override;
  int steps_between_reads() const override { return 1; }

  OwnedMemory allocate(Index bytes) const override;
  Queue queue() const override { return {.pool = &pool_}; }
  void upload(void* to, const void* from, Index bytes) const override { copy(to, from, bytes); }
  void download(void* to, const void* from, Index bytes) const override { copy(to, from, bytes); }
  void copy(void* to, const void* from, Index bytes) const override;
  void synchronize() const override {}
  std::unique_ptr<Feed> make_feed(Index bytes) const override;
  std::function<void()> capture(std::function<void()> body) const override { return body; }

  double milliseconds(const std::function<void()>& body) const override;

  void record(Index n, ConstPlace logits, ConstPlace targets, ConstPlace loss,
              const StepScalars* scalars, StepRecord* records) const override;
  void record_sums(const double* sums, Index whole, const StepScalars* scalars,
                   StepRecord* records) const override;
  void check_finite(ConstPlace values, Index count, StepScalars* scalars) const override;
  std::function<void()> make_update(const Update& update) const override;
  void add_gradients(Index count, ConstPlace gradients, Place sum) const override;
  void take_gradients(Index count, const StepInput* input, Place sum,
                      Place gradients) const override;
  void clip_gradients(Index count, double most, const StepScalars* scalars, Place scratch,
                      Place gradients) const override;
  void move_average(Index count, const StepInput* input, const StepScalars* scalars,
                    ConstPlace values, Place average) const override;
  void finish(StepScalars* scalars) const override { *scalars = next_scalars(*scalars); }
  void wait(StepScalars* scalars) const override { *scalars = waiting_scalars(*scalars); }
  void cast(Index, ConstPlace, Place) const override {}  // kernels read the parameters themselves

 private:
  ThreadPool& pool_;
  Element element_;
  std::vector<std::unique_ptr<ThreadPool>> alone_;  // a lane's pool: its thread and no other
};

}  // namespace dfengine
