// One layer with its inputs and parameters, run the way an executor would: on the CPU in double,
// or on a device. Memory is booked exactly as the layer's plan asks, guarded at both ends and full
// of NaN, so that a value never written or a write outside shows up.
#pragma once

#include <algorithm>
#include <variant>

#include "layers/layer.h"
#include "tests/support/random_data.h"
#include "tests/support/targets.h"

namespace dfengine::test {

// Values of an element in the target's memory.
template <class Target>
class LayerArray;

template <>
class LayerArray<Cpu<double>> {
 public:
  LayerArray(Element, const Doubles& values) : array_(values), empty_(values.empty()) {}
  void* data() { return empty_ ? nullptr : array_.data(); }
  Doubles values() const { return array_.values(); }

 private:
  HostArray<double, 16> array_;  // small: differences make thousands of them
  bool empty_;
};

template <class T>
class LayerArray<Device<T>> {
 public:
  LayerArray(Element e, const Doubles& values) : array_(make(e, values)), empty_(values.empty()) {}
  void* data() {
    if (empty_) return nullptr;
    return std::visit([](auto& array) -> void* { return array.data(); }, array_);
  }
  Doubles values() const {
    return std::visit([](const auto& array) { return array.values(); }, array_);
  }

 private:
  using Any = std::variant<DeviceArray<Half>, DeviceArray<BFloat16>, DeviceArray<float>>;
  static Any make(Element e, const Doubles& values) {
    std::optional<Any> any;
    with_device_element(
        e, [&](auto t) { any.emplace(std::in_place_type<DeviceArray<decltype(t)>>, values); });
    return *std::move(any);
  }

  Any array_;
  bool empty_;
};

// The gradients of one backward call; empty where it was told to skip one.
struct LayerGradients {
  std::vector<Doubles> dx, dparams;
};

// What a backward call is told. skip_dx and skip_dparams list positions given as null.
struct BackwardCall {
  std::vector<std::size_t> skip_dx = {}, skip_dparams = {};
  bool dx_is_dy = false;             // dx[0] in dy's memory
  std::vector<Doubles> add_to = {};  // dx before an accumulating call; empty: overwrite
};

template <class Target>
class LayerRun {
 public:
  LayerRun(const Layer& layer, std::vector<Spec> in, Phase phase, std::uint64_t seed)
      : layer_(layer), in_(std::move(in)), out_(layer.infer(in_)), phase_(phase) {
    for (const Spec& s : in_) x.push_back(random_uniform<double>(s.shape.count(), ++seed, -2, 2));
    for (const ParamSpec& p : layer.params())
      params.push_back(initial(p, random_uniform<double>(p.count(), ++seed)));
    dy = random_uniform<double>(out_.shape.count(), ++seed);
  }

  std::vector<Doubles> x, params;
  Doubles dy;
  StepState step{11, 3};

  const Spec& in(std::size_t k) const { return in_[k]; }
  const Spec& out() const { return out_; }
  LayerPlan plan(bool backward) const {
    const PlanQuery query{phase_, backward, in_, out_};
    return Target::kOnDevice ? layer_.device_plan(query) : layer_.plan(query);
  }

  // Forward as before a backward (backward) or alone. in_place: y over the input that plan() names.
  Doubles forward(bool backward, bool in_place = false) const {
    return Pass(*this, backward).forward(in_place);
  }

  // The parameters as training's forward leaves them: running statistics have moved.
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

  // The same in double on the CPU, with the numbers that the target holds.
  LayerRun<Cpu<double>> oracle() const {
    std::vector<Spec> in = in_;
    for (Spec& s : in) s.element = Element::F64;
    LayerRun<Cpu<double>> exact(layer_, in, phase_, 0);
    for (std::size_t k = 0; k < x.size(); ++k) exact.x[k] = held(in_[k].element, x[k]);
    for (std::size_t k = 0; k < params.size(); ++k)
      exact.params[k] = held(in_[0].element, params[k]);
    exact.dy = held(out_.element, dy);
    exact.step = step;
    return exact;
  }

  // Values as the target holds them in an element.
  static Doubles held(Element e, const Doubles& values) {
    Doubles out = values;
    if constexpr (Target::kOnDevice)
      with_device_element(e, [&](auto t) { out = as_stored<decltype(t)>(values); });
    return out;
  }

 private:
  using Array = LayerArray<Target>;
  // Of parameters, their gradients and blocks without a type.
  static constexpr Element kSum = Target::kOnDevice ? Element::F32 : Element::F64;

  // Parameters near what a trained network has.
  static Doubles initial(const ParamSpec& p, Doubles uniform) {
    for (double& v : uniform) {
      if (p.role == Role::NormScale) v = 2.0 + v;
      if (p.role == Role::NormShift) v = 2.0 + v;
      if (p.role == Role::RunningVar) v = 1.5 + v;
    }
    return uniform;
  }

  static Array nothing(Element e, Index count) {
    return Array(
        e, Doubles(static_cast<std::size_t>(count), std::numeric_limits<double>::quiet_NaN()));
  }
  static Array block(Index bytes) { return nothing(kSum, bytes / element_size(kSum)); }

  static std::vector<void*> pointers(std::vector<Array>& arrays) {
    std::vector<void*> all;
    for (Array& a : arrays) all.push_back(a.data());
    return all;
  }

  // Memory of one forward and one backward call.
  class Pass {
   public:
    Pass(const LayerRun& run, bool backward)
        : run_(run),
          booked_(run.plan(backward)),
          saved_(block(booked_.saved)),
          y_(nothing(run.out_.element, run.out_.shape.count())) {
      for (std::size_t k = 0; k < run.x.size(); ++k) x_.emplace_back(run.in_[k].element, run.x[k]);
      for (const Doubles& p : run.params) {
        const Doubles values = held(run.in_[0].element, p);
        params_.emplace_back(kSum, values);
        if constexpr (Target::kOnDevice) {
          working_.emplace_back(run.in_[0].element, values);
          next_.push_back(nothing(kSum, static_cast<Index>(p.size())));
        }
      }
      param_pointers_ = pointers(params_);
      working_pointers_ = pointers(working_);
      next_pointers_ = pointers(next_);
      io_.phase = run.phase_;
      io_.in = run.in_;
      io_.out = run.out_;
      io_.params = param_pointers_;
      io_.working = working_pointers_;
      io_.saved = saved_.data();
      io_.choices = booked_.choices;
      if (booked_.prepared > 0) prepare();
      if constexpr (Target::kOnDevice)
        scalars_.emplace(std::vector<StepScalars>{{.seed = run.step.seed, .step = run.step.step}});
    }

    Doubles forward(bool in_place) {
      Array scratch = block(booked_.forward_scratch);
      LayerIo io = io_;
      io.scratch = scratch.data();
      io.dparams = next_pointers_;
      for (std::size_t k = 0; k < x_.size(); ++k) io.x[k] = x_[k].data();
      Array& y = in_place ? x_[static_cast<std::size_t>(booked_.overwrites_input)] : y_;
      io.y = y.data();
      if constexpr (Target::kOnDevice) {
        run_.layer_.device_forward({nullptr, scalars_->data()}, io);
      } else {
        run_.layer_.forward({on_.context(), &run_.step}, io);
      }
      expect_intact({&scratch, &saved_, &y_});
      return y.values();
    }

    // A device puts what moved beside the parameters.
    std::vector<Doubles> moved() const {
      std::vector<Doubles> all;
      for (std::size_t k = 0; k < params_.size(); ++k) {
        all.push_back(params_[k].values());
        if (next_.empty()) continue;
        const Doubles next = next_[k].values();
        if (!std::isnan(next[0])) all[k] = next;
      }
      return all;
    }

    LayerGradients backward(const BackwardCall& call) {
      Array scratch = block(booked_.backward_scratch), dy(run_.out_.element, run_.dy);
      LayerIo io = io_;
      io.scratch = scratch.data();
      io.dy = dy.data();
      // What was not asked for is absent, as it may be overwritten by then.
      if (booked_.backward_needs_input)
        for (std::size_t k = 0; k < x_.size(); ++k) io.x[k] = x_[k].data();
      if (booked_.backward_needs_output) io.y = y_.data();
      std::vector<Array> dx, dparams;
      for (std::size_t k = 0; k < x_.size(); ++k) {
        const Spec& s = run_.in_[k];
        dx.push_back(call.add_to.empty() ? nothing(s.element, s.shape.count())
                                         : Array(s.element, call.add_to[k]));
        io.dx[k] = dx[k].data();
        if (!call.add_to.empty()) io.dx_write[k] = Write::Accumulate;
      }
      for (const Doubles& p : run_.params)
        dparams.push_back(nothing(kSum, static_cast<Index>(p.size())));
      std::vector<void*> dparam_pointers = pointers(dparams);
      for (std::size_t k : call.skip_dparams) dparam_pointers[k] = nullptr;
      if (call.dx_is_dy) io.dx[0] = dy.data();
      for (std::size_t k : call.skip_dx) io.dx[k] = nullptr;
      io.dparams = dparam_pointers;
      if constexpr (Target::kOnDevice) {
        run_.layer_.device_backward({nullptr, scalars_->data()}, io);
      } else {
        run_.layer_.backward({on_.context(), &run_.step}, io);
      }
      expect_intact({&scratch});
      return collect(call, dx, dparams, dy);
    }

   private:
    static void expect_intact(std::initializer_list<const Array*> arrays) {
      for (const Array* a : arrays) a->values();
    }

    // On a device prepared in host memory, as a plan does.
    void prepare() {
      if constexpr (Target::kOnDevice) {
        std::vector<std::vector<float>> floats;
        std::vector<void*> host;
        for (const Array& p : params_) floats.push_back(converted<float>(p.values()));
        for (std::vector<float>& p : floats) host.push_back(p.data());
        std::vector<std::byte> bytes(static_cast<std::size_t>(booked_.prepared));
        run_.layer_.device_prepare(run_.out_.element, host, bytes.data());
        prepared_on_device_.emplace(bytes);
        io_.prepared = prepared_on_device_->data();
      } else {
        prepared_.emplace(block(booked_.prepared));
        run_.layer_.prepare(run_.out_.element, param_pointers_, prepared_->data());
        expect_intact({&*prepared_});
        io_.prepared = prepared_->data();
      }
    }

    static LayerGradients collect(const BackwardCall& call, const std::vector<Array>& dx,
                                  const std::vector<Array>& dparams, const Array& dy) {
      LayerGradients result;
      for (const Array& d : dx) result.dx.push_back(d.values());
      for (const Array& d : dparams) result.dparams.push_back(d.values());
      if (call.dx_is_dy) result.dx[0] = dy.values();
      for (std::size_t k : call.skip_dx) result.dx[k].clear();
      for (std::size_t k : call.skip_dparams) result.dparams[k].clear();
      return result;
    }

    const LayerRun& run_;
    const Target on_{};
    const LayerPlan booked_;
    std::vector<Array> x_, params_, working_, next_;
    Array saved_, y_;
    std::optional<Array> prepared_;
    std::optional<DeviceStructs<std::byte>> prepared_on_device_;
    std::optional<DeviceStructs<StepScalars>> scalars_;
    std::vector<void*> param_pointers_, working_pointers_, next_pointers_;
    LayerIo io_;
  };

  const Layer& layer_;
  std::vector<Spec> in_;
  Spec out_;
  Phase phase_;
};

// What a layer computes: y, then dx of every input, then dparams, then the parameters that forward
// moved. Empty where the call skipped one.
template <class Target>
std::vector<Doubles> everything(const LayerRun<Target>& run, const BackwardCall& call) {
  std::vector<Doubles> all{run.forward(true)};
  const LayerGradients g = run.backward(call);
  all.insert(all.end(), g.dx.begin(), g.dx.end());
  all.insert(all.end(), g.dparams.begin(), g.dparams.end());
  for (Doubles& p : run.moved()) all.push_back(std::move(p));
  return all;
}

// How far arithmetic in float may move each of a layer's results: as far as rounding all that goes
// into it twice does, measured in double, times a safety factor. What a small change of the input
// does is the layer's own condition.
inline std::vector<double> float_condition(const LayerRun<Cpu<double>>& exact,
                                           const BackwardCall& call) {
  constexpr double kSafety = 8;
  const std::vector<Doubles> want = everything(exact, call);
  std::vector<double> allowed(want.size(), 0.0);
  for (std::uint64_t seed : {1, 2, 3}) {
    LayerRun<Cpu<double>> noisy = exact;
    const auto shake = [&](Doubles& values) {
      const auto count = static_cast<std::int64_t>(values.size());
      const Doubles noise = random_uniform<double>(count, 1000 * seed + values.size());
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] *= 1 + 2 * unit_roundoff<float>() * noise[i];
    };
    for (Doubles& v : noisy.x) shake(v);
    for (Doubles& v : noisy.params) shake(v);
    shake(noisy.dy);
    const std::vector<Doubles> got = everything(noisy, call);
    for (std::size_t k = 0; k < want.size(); ++k)
      for (std::size_t i = 0; i < want[k].size(); ++i)
        allowed[k] = std::max(allowed[k], kSafety * std::abs(got[k][i] - want[k][i]));
  }
  return allowed;
}

}  // namespace dfengine::test
