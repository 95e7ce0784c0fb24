// What a layer is: shapes, parameters, forward and backward. Immutable after construction; owns no
// activations, no parameters and no device pointers. A plan (engine/plan) asks infer(), params()
// and plan() once, books the memory, and then only calls prepare(), forward() and backward().
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/half.h"
#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/device_step.h"
#include "kernels/norm_on_load.h"

namespace dfengine {

namespace cuda {
struct Choice;
class Tuner;
}  // namespace cuda

// Element type of an activation. F64 serves the tests: it is the oracle. F16 and BF16 live on
// devices only.
enum class Element { U8, F16, BF16, F32, F64 };

constexpr Index element_size(Element e) {
  switch (e) {
    case Element::U8:
      return 1;
    case Element::F16:
    case Element::BF16:
      return 2;
    case Element::F32:
      return 4;
    case Element::F64:
      break;
  }
  return 8;
}

struct Spec {
  Shape shape;
  Element element = Element::F32;
  constexpr Index bytes() const { return shape.count() * element_size(element); }
  constexpr bool operator==(const Spec&) const = default;
};

std::string to_string(const Shape& shape);

// ---- Parameters -------------------------------------------------------------------------------

enum class Role { Weight, Bias, NormScale, NormShift, RunningMean, RunningVar };

// Running statistics are moved by forward passes, never by the optimiser.
constexpr bool is_learned(Role role) {
  return role != Role::RunningMean && role != Role::RunningVar;
}

// How a parameter lies in memory, against the order of its file_shape (torch's order).
enum class Layout {
  Plain,         // the same
  DepthwiseRSC,  // file [C, 1, 3, 3], memory [3, 3, C]
  StemRSCK,      // file [K, C, 3, 3], memory [3, 3, C, K]
};

// Where no weights are given: He et al. 2015 for weights (std = sqrt(2 / fan)), else a constant.
struct Init {
  double constant = 0.0;
  Index he_fan = 0;  // > 0: normal with standard deviation sqrt(2 / he_fan)
};

struct ParamSpec {
  std::string name;               // as torchvision names it
  std::vector<Index> file_shape;  // as torchvision shapes it
  Layout layout = Layout::Plain;
  Role role = Role::Weight;
  Init init;
  Index count() const;
};

// ---- Planning ---------------------------------------------------------------------------------

// Train: backward may follow. Infer: forward only, parameters constant between prepare() calls.
enum class Phase { Train, Infer };

// On a device: which kernel each launch uses, where there are several (kernels/cuda/tuning/choice.h).
// Null: there is one.
struct KernelChoices {
  std::shared_ptr<const cuda::Choice> forward, data_gradient, weight_gradient;
};

// What a layer books for one step, all in bytes.
struct LayerPlan {
  Index prepared = 0;         // made from the parameters by prepare(); lives as long as the plan
  Index saved = 0;            // made in forward, kept for backward
  Index forward_scratch = 0;  // dies with the step
  Index backward_scratch = 0;
  bool backward_needs_input = false;
  bool backward_needs_output = false;
  int overwrites_input = -1;     // forward's y may be this input's memory, -1: none
  bool dx_may_be_dy = false;     // backward's dx[0] may be dy's memory
  bool dx_overwrites = false;    // backward cannot add to dx: one reader of the input at most
  bool starts_backward = false;  // a loss: backward reads no dy
  bool defers_output = false;    // writes no y: its readers get x[0], and norm_on_load with it
  KernelChoices choices;
};

// Where a plan runs.
enum class DeviceKind { Cpu, Cuda };

struct PlanQuery {
  Phase phase = Phase::Infer;
  bool backward = false;  // a backward step will follow
  std::span<const Spec> in;
  Spec out;
  // On a device: times the kernels to choose from. Null: by the rule.
  cuda::Tuner* tuner = nullptr;
  bool norm_on_load = false;  // the first input comes with a LayerIo::norm
};

// ---- Running ----------------------------------------------------------------------------------

// What changes from step to step and is read by layers.
struct StepState {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;  // optimiser steps taken so far
  double lr = 0;           // of the optimiser, where it is part of the step
};

struct LayerContext {
  cpu::Context cpu;
  const StepState* step = nullptr;  // training only
};

// On a device everything is queued on the stream; what changes from step to step lies in its
// memory.
struct DeviceContext {
  cuda::Stream stream = nullptr;
  const StepScalars* scalars = nullptr;  // training only
};

constexpr std::size_t kMaxInputs = 2;

struct LayerIo {
  Phase phase = Phase::Infer;
  std::span<const Spec> in;
  Spec out;
  std::array<const void*, kMaxInputs> x{};
  NormOnLoad norm;  // on a device: what x[0] has still to go through, in forward and backward
  void* y = nullptr;
  std::span<void* const> params;  // values, in the order of params()
  // On a device: the same in the element of the activations; params are float there.
  std::span<void* const> working;
  const void* prepared = nullptr;
  void* saved = nullptr;
  void* scratch = nullptr;
  // Backward only. A null dx or dparams entry is skipped; dparams are overwritten.
  const void* dy = nullptr;
  std::array<void*, kMaxInputs> dx{};
  std::array<Write, kMaxInputs> dx_write{};
  // On a device a running statistic's entry is where forward puts its next value.
  std::span<void* const> dparams;
  KernelChoices choices;  // the plan's
};

// Batch norm's four vectors, folded into the convolution before it.
struct FoldedNorm {
  std::vector<ParamSpec> params;  // gamma, beta, running mean, running variance
  double eps = 1e-5;
};

class Layer {
 public:
  explicit Layer(std::string name) : name_(std::move(name)) {}
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  const std::string& name() const { return name_; }
  // One word for plan dumps, with what is fused: "pointwise+bn+relu6".
  virtual std::string kind() const = 0;

  // Output of these inputs; throws ShapeError naming the layer and the shapes.
  virtual Spec infer(std::span<const Spec> in) const = 0;
  virtual std::vector<ParamSpec> params() const { return {}; }
  virtual LayerPlan plan(const PlanQuery& query) const = 0;

  // Fills `prepared` from the parameter values: outside of steps, whenever they changed.
  virtual void prepare(Element, std::span<void* const> /*params*/, void* /*prepared*/) const {}
  virtual void forward(const LayerContext& ctx, const LayerIo& io) const = 0;
  // Layers without a gradient (image_normalize, folded convolutions) throw.
  virtual void backward(const LayerContext& ctx, const LayerIo& io) const;

  // The same on a CUDA device (layers/device): launches only. device_prepare works in host memory:
  // params in float, prepared as it will lie on the device. What a layer does not say throws.
  virtual LayerPlan device_plan(const PlanQuery& query) const { return plan(query); }
  virtual void device_prepare(Element, std::span<void* const> /*params*/,
                              void* /*prepared*/) const {}
  virtual void device_forward(const DeviceContext& ctx, const LayerIo& io) const;
  virtual void device_backward(const DeviceContext& ctx, const LayerIo& io) const;

  // Fusions, asked by the plan's passes. Null: this layer cannot.
  virtual std::shared_ptr<const Layer> with_activation(Activation) const { return nullptr; }
  virtual std::shared_ptr<const Layer> with_norm(const FoldedNorm&) const { return nullptr; }
  virtual std::shared_ptr<const Layer> with_residual() const { return nullptr; }
  // Batch norm with its running statistics held fixed.
  virtual std::shared_ptr<const Layer> with_frozen_statistics() const { return nullptr; }
  // On a device: a batch norm that leaves its result to its readers; what they need of the memory
  // it saved; and whether a layer can be such a reader, of its first input.
  virtual std::shared_ptr<const Layer> with_deferred_output() const { return nullptr; }
  virtual NormOnLoad norm_on_load(const void* /*saved*/) const { return {}; }
  virtual bool normalises_on_load() const { return false; }
  // What those passes look for.
  virtual Activation activation_only() const { return Activation::None; }
  virtual const FoldedNorm* norm() const { return nullptr; }
  virtual bool is_residual_add() const { return false; }

 protected:
  // Throws ShapeError "layer NAME: problem".
  [[noreturn]] void fail_shape(const std::string& problem) const;
  // So many inputs, none of them empty.
  void expect_count(std::span<const Spec> in, std::size_t count) const;
  // The same, and all of them floating-point.
  void expect_inputs(std::span<const Spec> in, std::size_t count) const;

 private:
  std::string name_;
};

using LayerPtr = std::shared_ptr<const Layer>;

std::string activation_suffix(Activation activation);  // "", "+relu", "+relu6"

// Calls body(T{}) with the floating type of an element on the CPU: float or double.
template <class Body>
void with_element(Element e, Body&& body) {
  switch (e) {
    case Element::F32:
      return body(float{});
    case Element::F64:
      return body(double{});
    case Element::U8:
    case Element::F16:
    case Element::BF16:
      break;
  }
  throw Error("an element type that the CPU does not compute in");
}

// The same for a device: Half, BFloat16 or float.
template <class Body>
void with_device_element(Element e, Body&& body) {
  switch (e) {
    case Element::F16:
      return body(Half{});
    case Element::BF16:
      return body(BFloat16{});
    case Element::F32:
      return body(float{});
    case Element::U8:
    case Element::F64:
      break;
  }
  throw Error("an element type that devices do not compute in");
}

}  // namespace dfengine
