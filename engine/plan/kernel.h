// What a backend makes of one node of a graph for one plan: everything chosen, so that a step only
// calls it.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/step.h"
#include "layers/graph.h"

namespace dfengine {

// Train: backward may follow. Infer: forward only, parameters constant between prepare() calls.
enum class Phase { Train, Infer };

// What a backend is asked.
struct KernelQuery {
  Phase phase = Phase::Infer;
  bool backward = false;  // a backward step will follow
  std::span<const Spec> in;
  Spec out;
  bool sliced = false;         // the batch is cut into slices, and this is the plan of some
  bool ends_backward = false;  // no input wants a gradient
  // Bytes of what a batch norm is given: the moments of its input, its gradient's sums.
  Index moments = 0, gradient_sums = 0;
};

// What a kernel books, all in bytes, and what it allows.
struct Needs {
  Index prepared = 0;         // made from the parameters by prepare; lives as long as the plan
  Index saved = 0;            // made in forward, kept for backward
  Index forward_scratch = 0;  // dies with the step
  Index backward_scratch = 0;
  Index moments = 0;  // made in forward, lives until the batch norm that is given them has run
  // Made in backward, until the batch norm that is given the sums, or the convolution that is given
  // the factors, has run (kernels/norm_gradient.h).
  Index gradient_sums = 0, gradient_factors = 0;
  bool backward_needs_input = false;
  bool backward_needs_output = false;
  int overwrites_input = -1;     // forward's y may be this input's memory, -1: none
  bool dx_may_be_dy = false;     // backward's first gradient may be dy's memory
  bool dx_overwrites = false;    // backward cannot add to dx: one reader of the input at most
  bool starts_backward = false;  // a loss: backward reads no dy
};

// ---- Running ------------------------------------------------------------------------------------

// A loss in slices adds up two things: itself, and right answers at probability 0.5.
inline constexpr Index kLossSums = 2;

// Memory that a step reads or writes; null: absent.
struct ConstPlace {
  const void* address = nullptr;
  template <class T>
  const T* as() const {
    return static_cast<const T*>(address);
  }
  explicit operator bool() const { return address != nullptr; }
};
struct Place {
  void* address = nullptr;
  template <class T>
  T* as() const {
    return static_cast<T*>(address);
  }
  explicit operator bool() const { return address != nullptr; }
  operator ConstPlace() const { return {address}; }  // NOLINT: reading is always allowed
};

// Where work goes: the threads of the CPU, or the queue of a device.
struct Queue {
  ThreadPool* pool = nullptr;
  cuda::Stream stream = nullptr;
  cpu::Context cpu() const { return {*pool}; }
};

// What a step computes of a batch that is cut into slices (ranks/slices.h): some of them, one after
// the other.
struct BatchPart {
  std::span<const Slice> slices;
  Index n = 0, whole = 0;  // pictures in them, and in the batch
  // Of the batch, for a kernel that has Kernel::sums; in the backend's memory.
  const double* sums = nullptr;
};

// What a step is handed beside its memory. In training the two structs lie in the backend's memory.
struct StepContext {
  Queue queue;
  const StepInput* input = nullptr;
  const StepScalars* scalars = nullptr;
  const BatchPart* part = nullptr;  // null: the batch is whole
};

// Parameters are in the order of params(operation), in float (double for the oracle); `working` are
// the same as convolutions read them (Backend::working_element).
struct ForwardIo {
  std::array<ConstPlace, kMaxInputs> x;
  Place y, saved, scratch;
  Place moments;  // of y, to be made; or of x[0], given (kernels/channel_moments.h)
  ConstPlace prepared;
  std::span<const ConstPlace> params, working;
  std::span<const Place> next;  // training: where the next values of running statistics go
};

// A gradient whose place is absent is not asked for. dparams are overwritten.
struct BackwardIo {
  std::array<ConstPlace, kMaxInputs> x;
  ConstPlace y, dy, saved;
  Place scratch;
  Place gradient_sums;     // of x[0]'s batch norm, to be made; or of this one, given
  Place gradient_factors;  // of this batch norm, to be made; or of y's, given
  std::span<const ConstPlace> params, working;
  std::array<Place, kMaxInputs> dx;
  std::array<Write, kMaxInputs> dx_write{};
  std::span<const Place> dparams;
};

// dx is dy, in its place already: nothing is to be done for this input.
inline bool stays_in_place(const BackwardIo& io, std::size_t input) {
  return io.dx[input].address == io.dy.address && io.dx_write[input] == Write::Overwrite;
}

// Which of several kernels a launch uses, for people.
struct KernelNames {
  std::string forward = "own", data_gradient = "own", weight_gradient = "own";
  std::vector<std::string> left_out;  // "name: reason" of candidates that failed
};

struct Kernel {
  Needs needs;
  KernelNames names;
  // Fills `prepared`, both in host memory, from the parameter values in float (double for the
  // oracle): outside of steps, whenever they changed. Empty where nothing is prepared.
  std::function<void(std::span<const ConstPlace> params, Place prepared)> prepare;
  std::function<void(const StepContext&, const ForwardIo&)> forward;
  // y once more, to the same bits, from what forward saved. Empty where forward itself can run
  // again.
  std::function<void(const StepContext&, const ForwardIo&)> again;
  // Empty for what has no gradient.
  std::function<void(const StepContext&, const BackwardIo&)> backward;
  // Training in slices: the bits of a picture depend on how many there are, so that each slice is
  // computed by itself.
  bool by_slice = false;
  // Training in slices, of an operation that mixes the pictures of a batch: what one slice adds to
  // so many sums over the batch and, in backward, to the gradients of parameters. forward and
  // backward then do the rest for several slices at once, with the sums of all in
  // StepContext::part.
  Index sums = 0;
  std::function<void(const StepContext&, const ForwardIo&, double* sums)> forward_sums;
  std::function<void(const StepContext&, const BackwardIo&, double* sums)> backward_sums;
};

class KernelMaker {
 public:
  virtual ~KernelMaker() = default;
  // Throws ShapeError or UsageError naming the layer where it has no kernel for the node.
  virtual Kernel make(const Node& node, const KernelQuery& query) const = 0;
  // Whether convolutions can take a batch norm as they load (Convolution::norm_on_load).
  virtual bool loads_norms() const { return false; }
  // Whether the convolution, which takes pixels, has a kernel for them.
  virtual bool loads_pixels(const Convolution&) const { return false; }
  // Whether the convolution has a kernel that makes the moments of its result.
  virtual bool makes_moments(const Convolution&, const Spec& /*in*/) const { return false; }
  // Whether the convolution, which takes a norm on load, has a kernel that makes its gradient's
  // sums, and whether a convolution has one that takes the last step of the gradient of the batch
  // norm behind it.
  virtual bool makes_gradient_sums(const Convolution&, const Spec& /*in*/) const { return false; }
  virtual bool loads_gradient(const Convolution&, const Spec& /*in*/) const { return false; }
  // Whether there is a kernel that makes the wide half of a block with this input without storing
  // it.
  virtual bool recomputes_expansion(const ExpandDepthwise&, const Spec& /*in*/) const {
    return false;
  }
  // Whether there is a kernel for the block as one operation, with this input.
  virtual bool has_block(const InvertedResidual&, const Spec& /*in*/) const { return false; }
  // What could not be offered, and why.
  virtual std::vector<std::string> left_out() const { return {}; }
  // Time of the node's forward and, where the query has one, backward. Nothing: it is not timed,
  // and the rule decides.
  virtual std::optional<double> microseconds(const Node&, const KernelQuery&) const {
    return std::nullopt;
  }
};

}  // namespace dfengine
