// What computes: the CPU, or a CUDA device. One interface for memory, copies, the queue, captured
// steps, the kernels of a graph's operations and those of a training step; everything above it
// knows no device.
#pragma once

#include <memory>

#include "engine/plan/kernel.h"
#include "kernels/adam.h"
#include "kernels/base/enum_names.h"

namespace dfengine {

enum class DeviceKind { Cpu, Cuda };
template <>
inline constexpr auto enum_names<DeviceKind> =
    names_for<DeviceKind>("device", {{"cpu", DeviceKind::Cpu}, {"cuda", DeviceKind::Cuda}});

// Zeroed memory of a backend, given back with its last owner.
using OwnedMemory = std::shared_ptr<std::byte>;

// The way of a batch from host memory to the backend's.
class Feed {
 public:
  struct Part {
    const void* host = nullptr;
    void* to = nullptr;
    Index bytes = 0;
  };
  virtual ~Feed() = default;
  // Has read the host memory when it returns; what is queued afterwards finds the parts in place.
  virtual void put(std::span<const Part> parts) = 0;
  virtual Index bytes() const = 0;  // that it holds
};

// Neighbouring elements of a parameter block that an update treats alike.
struct UpdateRange {
  Index offset = 0, count = 0;
  double weight_decay = 0;
  double rate = 1;      // part of the learning rate
  bool commit = false;  // running statistics: the next value becomes the value
};

// What an optimiser step reads and writes: blocks of parameters in one layout (ParameterBlock).
struct Update {
  AdamProblem adam;  // betas, eps, decoupled; the rest comes from input and scalars
  std::vector<UpdateRange> ranges;
  const StepInput* input = nullptr;
  const StepScalars* scalars = nullptr;
  ConstPlace gradients;  // of what is learned
  ConstPlace next;       // running statistics' next values
  Index statistics = 0;  // where `next` begins among the values, behind what is learned
  Place values, first_moment, second_moment;
  Place working;  // absent where kernels read the values
};

class Backend : public KernelMaker {
 public:
  virtual DeviceKind kind() const = 0;
  // Of activations; of the weights that convolutions read in training; and of parameters.
  virtual Element element() const = 0;
  virtual Element working_element() const { return element(); }
  virtual Element parameter_element() const { return Element::F32; }
  // Kernels read and write the host's own memory: parameters stay where the store has them.
  virtual bool computes_in_host_memory() const { return false; }
  // Every parameter of a block begins at a multiple of so many elements.
  virtual Index alignment() const = 0;
  // Pictures of an inference call of n that go through the network together.
  virtual Index inference_batch(Index n) const = 0;
  // So many inference batches can be under way at the same time, each in memory of its own.
  virtual int lanes() const { return 1; }
  // Calls body(i, lane, queue) for every i in [0, n), at most one on a lane at a time, and waits.
  // Throws the first that body threw, when all have ended.
  using LaneBody = std::function<void(Index i, int lane, const Queue& queue)>;
  virtual void side_by_side(Index n, const LaneBody& body) const {
    for (Index i = 0; i < n; ++i) body(i, 0, queue());
  }
  // Calls body, in which this thread may use the backend, on whichever it was made: a device that
  // is current is so for one thread.
  virtual void on_this_thread(const std::function<void()>& body) const { body(); }
  // Reading a step's result waits for it: after how many steps that costs nothing.
  virtual int steps_between_reads() const = 0;

  virtual OwnedMemory allocate(Index bytes) const = 0;
  virtual Queue queue() const = 0;
  // Copies queue behind earlier work; host memory may be used again when upload returns, and holds
  // what download brings after synchronize.
  virtual void upload(void* to, const void* from, Index bytes) const = 0;
  virtual void download(void* to, const void* from, Index bytes) const = 0;
  virtual void copy(void* to, const void* from, Index bytes) const = 0;
  virtual void synchronize() const = 0;
  // For batches of at most so many bytes, all parts together.
  virtual std::unique_ptr<Feed> make_feed(Index bytes) const = 0;
  // What queues the same work again as fast as it can: a captured graph, or the body itself.
  virtual std::function<void()> capture(std::function<void()> body) const = 0;
  // How long the work takes that body queues.
  virtual double milliseconds(const std::function<void()>& body) const = 0;

  // ---- Of a training step, queued; pointers into the backend's memory ----
  // logits and targets [n], loss [1]; records [kStepRecords].
  virtual void record(Index n, ConstPlace logits, ConstPlace targets, ConstPlace loss,
                      const StepScalars* scalars, StepRecord* records) const = 0;
  // The same of a batch in slices: kLossSums of all of them, and their pictures.
  virtual void record_sums(const double* sums, Index whole, const StepScalars* scalars,
                           StepRecord* records) const = 0;
  // scalars->overflow becomes 1 where any of the values is not finite.
  virtual void check_finite(ConstPlace values, Index count, StepScalars* scalars) const = 0;
  // What queues the update, made once.
  virtual std::function<void()> make_update(const Update& update) const = 0;
  // kernels/gradients.h, of gradients in float. scratch: clip_scratch doubles.
  virtual void add_gradients(Index count, ConstPlace gradients, Place sum) const = 0;
  virtual void take_gradients(Index count, const StepInput* input, Place sum,
                              Place gradients) const = 0;
  virtual void clip_gradients(Index count, double most, const StepScalars* scalars, Place scratch,
                              Place gradients) const = 0;
  // kernels/moving_average.h
  virtual void move_average(Index count, const StepInput* input, const StepScalars* scalars,
                            ConstPlace values, Place average) const = 0;
  // Last: moves the scalars by next_scalars, or by waiting_scalars.
  virtual void finish(StepScalars* scalars) const = 0;
  virtual void wait(StepScalars* scalars) const = 0;
  // working = values in element().
  virtual void cast(Index count, ConstPlace values, Place working) const = 0;
};

}  // namespace dfengine
