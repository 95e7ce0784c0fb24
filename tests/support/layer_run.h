// One operation with its inputs and parameters, run the way a binding would, on any backend. Memory
// is booked exactly as the kernel needs it, guarded at both ends and full of NaN, so that a value
// never written or a write outside shows up.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/runtime/cuda/cuda_backend.h"
#include "tests/support/backend_block.h"
#include "tests/support/targets.h"

namespace dfengine::test {

// The backend of a target of the test matrix, kernels by rule.
template <class Target>
const Backend& backend_of() {
  using T = typename Target::Value;
  if constexpr (Target::kOnDevice) {
    constexpr Precision precision = std::is_same_v<T, Half>       ? Precision::Fp16
                                    : std::is_same_v<T, BFloat16> ? Precision::Bf16
                                                                  : Precision::Fp32;
    static const CudaBackend backend(
        {.precision = precision, .graphs = false, .deterministic = true});
    return backend;
  } else {
    static ThreadPool one(1);
    static const CpuBackend backend(one, sizeof(T) == 8 ? Element::F64 : Element::F32);
    return backend;
  }
}

inline const Backend& oracle_backend() {
  return backend_of<Cpu<double>>();
}

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
  LayerRun(const Backend& backend, const Operation& operation, std::vector<Spec> in, Phase phase,
           std::uint64_t seed, const std::string& name = "layer")
      : backend_(&backend),
        node_{.name = name, .operation = operation, .inputs = {}, .output = 0},
        in_(std::move(in)),
        out_(infer(operation, name, in_)),
        phase_(phase) {
    for (const Spec& s : in_) x.push_back(random_uniform<double>(s.shape.count(), ++seed, -2, 2));
    for (const ParamSpec& p : specs())
      params.push_back(initial(p, random_uniform<double>(p.count(), ++seed)));
    dy = random_uniform<double>(dy_spec().shape.count(), ++seed);
  }

  std::vector<Doubles> x, params;
  Doubles dy;
  StepInput step{.seed = 11, .step = 3};

  const Backend& backend() const { return *backend_; }
  const Operation& operation() const { return node_.operation; }
  const Spec& in(std::size_t k) const { return in_[k]; }
  const Spec& out() const { return out_; }
  Spec dy_spec() const { return gradient_spec(node_.operation, in_, out_); }
  // The gradient of a norm on load is that of its result.
  const Spec& dx_spec(std::size_t k) const {
    const auto* conv = std::get_if<Convolution>(&node_.operation);
    return in_[conv != nullptr && conv->norm_on_load ? 0 : k];
  }
  Kernel kernel(bool backward) const {
    return backend_->make(node_, {phase_, backward, in_, out_});
  }

  // Forward as before a backward (backward) or alone. in_place: y over the input that it may be.
  Doubles forward(bool backward, bool in_place = false) const {
    return Pass(*this, backward).forward(in_place);
  }

  // The parameters as an optimiser step leaves them: running statistics have moved.
  std::vector<Doubles> moved() const {
    Pass pass(*this, true);
    pass.forward(false);
    return pass.moved();
  }

  LayerGradients backward(const BackwardCall& call = {}) const {
    Pass pass(*this, true);
    pass.forward(false);
    return pass.backward(call);
  }

  // The same in double on the CPU, with the numbers that this one holds.
  LayerRun oracle() const {
    std::vector<Spec> in = in_;
    for (Spec& s : in) s.element = Element::F64;
    LayerRun exact(oracle_backend(), node_.operation, in, phase_, 0, node_.name);
    for (std::size_t k = 0; k < x.size(); ++k) exact.x[k] = held(in_[k].element, x[k]);
    for (std::size_t k = 0; k < params.size(); ++k) exact.params[k] = held_param(k);
    exact.dy = held(dy_spec().element, dy);
    exact.step = step;
    return exact;
  }

  // Working copies have a parameter's very value.
  Doubles held_param(std::size_t k) const { return held(backend_->element(), params[k]); }

 private:
  std::vector<ParamSpec> specs() const { return dfengine::params(node_.operation, node_.name); }

  // Parameters near what a trained network has.
  static Doubles initial(const ParamSpec& p, Doubles uniform) {
    for (double& v : uniform) {
      if (p.role == Role::NormScale) v = 2.0 + v;
      if (p.role == Role::NormShift) v = 2.0 + v;
      if (p.role == Role::RunningVar) v = 1.5 + v;
    }
    return uniform;
  }

  // Memory of one forward and one backward call.
  class Pass {
   public:
    Pass(const LayerRun& run, bool backward)
        : run_(run),
          on_(run.backend()),
          kernel_(run.kernel(backward)),
          step_(on_, run.step, {.loss_scale = 1.0f}),
          y_(on_, run.out_.bytes()),
          saved_(on_, kernel_.needs.saved),
          prepared_(on_, kernel_.needs.prepared) {
      for (std::size_t k = 0; k < run.x.size(); ++k)
        x_.emplace_back(on_, run.in_[k].element, run.x[k]);
      const std::vector<ParamSpec> specs = run.specs();
      for (std::size_t k = 0; k < specs.size(); ++k) {
        const Doubles values = run.held_param(k);
        params_.emplace_back(on_, on_.parameter_element(), values);
        working_.emplace_back(on_, on_.element(), values);
        const bool moves = run.phase_ == Phase::Train && !is_learned(specs[k].role);
        next_.emplace_back(on_, moves ? params_[k].size() : 0);
      }
      if (kernel_.needs.prepared > 0) prepare();
    }

    Doubles forward(bool in_place) {
      BackendBlock scratch(on_, kernel_.needs.forward_scratch);
      BackendBlock& y = in_place ? x_[at(kernel_.needs.overwrites_input)] : y_;
      const std::vector<ConstPlace> masters = places<ConstPlace>(params_);
      const std::vector<ConstPlace> working = places<ConstPlace>(working_);
      const std::vector<Place> next = places<Place>(next_);
      ForwardIo io;
      for (std::size_t k = 0; k < x_.size(); ++k) io.x[k] = x_[k].place();
      io.y = y.place();
      io.saved = saved_.place();
      io.scratch = scratch.place();
      io.prepared = prepared_.place();
      io.params = masters;
      io.working = working;
      io.next = next;
      kernel_.forward(step_.context(), io);
      expect_intact({&scratch, &saved_, &prepared_, &y_});
      return y.values(run_.out_.element);
    }

    // What did not move is as before.
    std::vector<Doubles> moved() const {
      std::vector<Doubles> all;
      for (std::size_t k = 0; k < params_.size(); ++k) {
        all.push_back(params_[k].values(on_.parameter_element()));
        const Doubles next = next_[k].values(on_.parameter_element());
        if (!next.empty() && !std::isnan(next[0])) all[k] = next;
      }
      return all;
    }

    LayerGradients backward(const BackwardCall& call) {
      BackendBlock scratch(on_, kernel_.needs.backward_scratch);
      BackendBlock gradient(on_, run_.dy_spec().element, run_.dy);
      std::vector<BackendBlock> dx, dparams;
      for (std::size_t k = 0; k < x_.size(); ++k) {
        const Spec& s = run_.dx_spec(k);
        if (call.add_to.empty()) {
          dx.emplace_back(on_, s.bytes());
        } else {
          dx.emplace_back(on_, s.element, call.add_to[k]);
        }
      }
      for (const BackendBlock& p : params_) dparams.emplace_back(on_, p.size());
      const std::vector<ConstPlace> masters = places<ConstPlace>(params_);
      const std::vector<ConstPlace> working = places<ConstPlace>(working_);
      std::vector<Place> dparam_places = places<Place>(dparams);
      for (std::size_t k : call.skip_dparams) dparam_places[k] = {};
      BackwardIo io;
      io.dy = gradient.place();
      io.saved = saved_.place();
      io.scratch = scratch.place();
      io.params = masters;
      io.working = working;
      io.dparams = dparam_places;
      // What was not asked for is absent, as it may be overwritten by then.
      if (kernel_.needs.backward_needs_input)
        for (std::size_t k = 0; k < x_.size(); ++k) io.x[k] = x_[k].place();
      if (kernel_.needs.backward_needs_output) io.y = y_.place();
      for (std::size_t k = 0; k < x_.size(); ++k) {
        io.dx[k] = dx[k].place();
        if (!call.add_to.empty()) io.dx_write[k] = Write::Accumulate;
      }
      if (call.dx_is_dy) io.dx[0] = gradient.place();
      for (std::size_t k : call.skip_dx) io.dx[k] = {};
      kernel_.backward(step_.context(), io);
      expect_intact({&scratch, &saved_});
      return collect(call, dx, dparams, gradient);
    }

   private:
    template <class P>
    static std::vector<P> places(const std::vector<BackendBlock>& blocks) {
      std::vector<P> all;
      for (const BackendBlock& b : blocks) all.push_back(b.place());
      return all;
    }

    static void expect_intact(std::initializer_list<const BackendBlock*> blocks) {
      for (const BackendBlock* b : blocks) b->bytes();
    }

    void prepare() {
      std::vector<Bytes> host;
      std::vector<ConstPlace> values;
      for (const BackendBlock& p : params_) host.push_back(p.bytes());
      for (const Bytes& p : host) values.push_back({p.data()});
      prepared_.write(prepared_bytes(kernel_, values));
    }

    LayerGradients collect(const BackwardCall& call, const std::vector<BackendBlock>& dx,
                           const std::vector<BackendBlock>& dparams,
                           const BackendBlock& gradient) const {
      LayerGradients result;
      for (std::size_t k = 0; k < dx.size(); ++k)
        result.dx.push_back(dx[k].values(run_.dx_spec(k).element));
      for (const BackendBlock& d : dparams)
        result.dparams.push_back(d.values(on_.parameter_element()));
      if (call.dx_is_dy) result.dx[0] = gradient.values(run_.dx_spec(0).element);
      for (std::size_t k : call.skip_dx) result.dx[k].clear();
      for (std::size_t k : call.skip_dparams) result.dparams[k].clear();
      return result;
    }

    const LayerRun& run_;
    const Backend& on_;
    const Kernel kernel_;
    StepMemory step_;
    BackendBlock y_, saved_, prepared_;
    std::vector<BackendBlock> x_, params_, working_, next_;
  };

  const Backend* backend_;
  Node node_;
  std::vector<Spec> in_;
  Spec out_;
  Phase phase_;
};

// What a layer computes: y, then dx of every input, then dparams, then the parameters that forward
// moved. Empty where the call skipped one.
inline std::vector<Doubles> everything(const LayerRun& run, const BackwardCall& call) {
  std::vector<Doubles> all{run.forward(true)};
  const LayerGradients g = run.backward(call);
  all.insert(all.end(), g.dx.begin(), g.dx.end());
  all.insert(all.end(), g.dparams.begin(), g.dparams.end());
  for (Doubles& p : run.moved()) all.push_back(std::move(p));
  return all;
}

// How far arithmetic of this unit roundoff may move each of several results: as far as rounding all
// that goes into them twice does, measured in double, times a safety factor. What a small change of
// the input does is the computation's own condition. results(shake) computes them in double, after
// shake was called on every vector that goes in.
using Shake = std::function<void(Doubles&)>;
inline std::vector<double> rounding_condition(
    double unit, const std::function<std::vector<Doubles>(const Shake&)>& results) {
  constexpr double kSafety = 8;
  const std::vector<Doubles> want = results([](Doubles&) {});
  std::vector<double> allowed(want.size(), 0.0);
  for (std::uint64_t seed : {1, 2, 3}) {
    const std::vector<Doubles> got = results([&](Doubles& values) {
      const Doubles noise = random_uniform<double>(std::ssize(values), 1000 * seed + values.size());
      for (std::size_t i = 0; i < values.size(); ++i) values[i] *= 1 + 2 * unit * noise[i];
    });
    for (std::size_t k = 0; k < want.size(); ++k)
      for (std::size_t i = 0; i < want[k].size(); ++i)
        allowed[k] = std::max(allowed[k], kSafety * std::abs(got[k][i] - want[k][i]));
  }
  return allowed;
}

// Of everything that a layer computes, in float.
inline std::vector<double> float_condition(const LayerRun& exact, const BackwardCall& call) {
  return rounding_condition(unit_roundoff<float>(), [&](const Shake& shake) {
    LayerRun noisy = exact;
    for (Doubles& v : noisy.x) shake(v);
    for (Doubles& v : noisy.params) shake(v);
    shake(noisy.dy);
    return everything(noisy, call);
  });
}

}  // namespace dfengine::test
