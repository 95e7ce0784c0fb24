// One operation with its inputs and parameters, run the way a binding would, on any backend. Memory
// is booked exactly as the kernel needs it, guarded at both ends and full of NaN, so that a value
// never written or a write outside shows up.
#pragma once

#include <functional>
#include <initializer_list>

#include "engine/selftest/backend_block.h"

namespace dfengine {

// Uniform in [low, high), rounded to float first: the same for the same seed, everywhere.
Doubles uniform_numbers(Index count, std::uint64_t seed, double low = -1, double high = 1);

// Tensors that a run leaves.
using Results = std::vector<Doubles>;

// The gradients of one backward call; empty where it was told to skip one.
struct LayerGradients {
  std::vector<Doubles> dx, dparams;
};

// What a backward call is told. skip_dx and skip_dparams list positions that are absent.
struct BackwardCall {
  std::vector<std::size_t> skip_dx = {}, skip_dparams = {};
  bool dx_is_dy = false;             // dx[0] in dy's memory
  std::vector<Doubles> add_to = {};  // dx before an accumulating call; empty: overwrite
};

class LayerRun {
 public:
  // Random inputs in [-2, 2), parameters near what a trained network has, gradients in [-1, 1).
  // backend must outlive it. Throws what infer does.
  LayerRun(const Backend& backend, const Operation& operation, std::vector<Spec> in, Phase phase,
           std::uint64_t seed, const std::string& name = "layer");

  std::vector<Doubles> x, params;
  Doubles dy;
  Doubles factors;  // [3, C] of a gradient on load (kernels/norm_gradient.h); empty: there is none
  StepInput step{.seed = 11, .step = 3};
  const KernelMaker* maker;  // of the kernel: the backend, or one that makes others for it

  const Backend& backend() const { return *backend_; }
  const Operation& operation() const { return node_.operation; }
  Phase phase() const { return phase_; }
  const Spec& in(std::size_t k) const { return in_[k]; }
  const Spec& out() const { return out_; }
  Spec dy_spec() const { return gradient_spec(node_.operation, in_, out_); }
  // The gradient of a norm on load is that of its result.
  const Spec& dx_spec(std::size_t k) const;
  Kernel kernel(bool backward) const;

  // All throw Error where the kernel writes outside of what it booked.
  // Forward as before a backward (backward) or alone. in_place: y over the input that it may be.
  Doubles forward(bool backward, bool in_place = false) const;
  // The parameters as an optimiser step leaves them: running statistics have moved.
  std::vector<Doubles> moved() const;
  LayerGradients backward(const BackwardCall& call = {}) const;
  // Of one forward and one backward: y, then dx of every input, then dparams, then the parameters
  // that forward moved. Empty where the call skipped one.
  Results everything(const BackwardCall& call) const;

  // The same in double on the CPU, `doubles`, with the numbers that this one holds.
  LayerRun oracle(const Backend& doubles) const;
  // Working copies have a parameter's very value.
  Doubles held_param(std::size_t k) const { return held(backend_->element(), params[k]); }

 private:
  class Pass;
  std::vector<ParamSpec> specs() const { return dfengine::params(node_.operation, node_.name); }

  const Backend* backend_;
  Node node_;
  std::vector<Spec> in_;
  Spec out_;
  Phase phase_;
};

// How far arithmetic of this unit roundoff may move each of several results: as far as rounding all
// that goes into them twice does, measured in double, times a safety factor. What a small change of
// the input does is the computation's own condition. results(shake) computes them in double, after
// shake was called on every vector that goes in,
// times: how often it is measured. want: what results gives without a shake.
using Shake = std::function<void(Doubles&)>;
std::vector<double> rounding_condition(double unit, const Results& want,
                                       const std::function<Results(const Shake&)>& results,
                                       int times = 3);

// Of what `results` makes of a layer, in float.
std::vector<double> float_condition(const LayerRun& exact, const Results& want,
                                    const std::function<Results(const LayerRun&)>& results,
                                    int times = 3);

double unit_roundoff_of(Element e);
// What a device's sums or a float's leave of a value that is stored in this element.
double rounding(Element e, double terms, double magnitude);

}  // namespace dfengine
