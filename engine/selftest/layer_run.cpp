#include "engine/selftest/layer_run.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/random.h"
#include "kernels/base/tolerance.h"
#include "kernels/norm_gradient.h"

namespace dfengine {
namespace {

// Parameters near what a trained network has.
Doubles initial(const ParamSpec& p, Doubles uniform) {
  for (double& v : uniform) {
    if (p.role == Role::NormScale) v = 2.0 + v;
    if (p.role == Role::NormShift) v = 2.0 + v;
    if (p.role == Role::RunningVar) v = 1.5 + v;
  }
  return uniform;
}

template <class P>
std::vector<P> places(const std::vector<BackendBlock>& blocks) {
  std::vector<P> all;
  for (const BackendBlock& b : blocks) all.push_back(b.place());
  return all;
}

void require_intact(std::initializer_list<const BackendBlock*> blocks) {
  for (const BackendBlock* b : blocks) b->bytes();
}

}  // namespace

Doubles uniform_numbers(Index count, std::uint64_t seed, double low, double high) {
  Random random(seed, RandomStream::Init, 0);
  Doubles values(at(count));
  for (double& v : values) v = static_cast<double>(static_cast<float>(random.uniform(low, high)));
  return values;
}

// Memory of one forward and one backward call.
class LayerRun::Pass {
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
      working_.emplace_back(on_, on_.working_element(), values);
      const bool moves = run.phase_ == Phase::Train && !is_learned(specs[k].role);
      next_.emplace_back(on_, moves ? params_[k].size() : 0);
    }
    if (kernel_.needs.prepared > 0) prepare();
  }

  Doubles forward(bool in_place) {
    BackendBlock scratch(on_, kernel_.needs.forward_scratch);
    BackendBlock moments(on_, kernel_.needs.moments);
    BackendBlock& y = in_place ? x_[at(kernel_.needs.overwrites_input)] : y_;
    const std::vector<ConstPlace> masters = places<ConstPlace>(params_);
    const std::vector<ConstPlace> working = places<ConstPlace>(working_);
    const std::vector<Place> next = places<Place>(next_);
    ForwardIo io;
    for (std::size_t k = 0; k < x_.size(); ++k) io.x[k] = x_[k].place();
    io.y = y.place();
    io.saved = saved_.place();
    io.scratch = scratch.place();
    io.moments = moments.place();
    io.prepared = prepared_.place();
    io.params = masters;
    io.working = working;
    io.next = next;
    kernel_.forward(step_.context(), io);
    require_intact({&scratch, &moments, &saved_, &prepared_, &y_});
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
    BackendBlock sums(on_, kernel_.needs.gradient_sums);
    BackendBlock last_step(on_, Element::F32, run_.factors);
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
    io.gradient_sums = sums.place();
    if (!run_.factors.empty()) io.gradient_factors = last_step.place();
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
    require_intact({&scratch, &sums, &saved_});
    return collect(call, dx, dparams, gradient);
  }

 private:
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

LayerRun::LayerRun(const Backend& backend, const Operation& operation, std::vector<Spec> in,
                   Phase phase, std::uint64_t seed, const std::string& name)
    : maker(&backend),
      backend_(&backend),
      node_{.name = name, .operation = operation, .inputs = {}, .output = 0},
      in_(std::move(in)),
      out_(infer(operation, name, in_)),
      phase_(phase) {
  for (const Spec& s : in_) x.push_back(uniform_numbers(s.shape.count(), ++seed, -2, 2));
  for (const ParamSpec& p : specs())
    params.push_back(initial(p, uniform_numbers(p.count(), ++seed)));
  dy = uniform_numbers(dy_spec().shape.count(), ++seed);
  const auto* conv = std::get_if<Convolution>(&operation);
  if (conv != nullptr && conv->gradient_on_load)
    factors = uniform_numbers(GradientOnLoad::kVectors * conv->out, ++seed);
}

const Spec& LayerRun::dx_spec(std::size_t k) const {
  const auto* conv = std::get_if<Convolution>(&node_.operation);
  return in_[conv != nullptr && conv->norm_on_load ? 0 : k];
}

Kernel LayerRun::kernel(bool backward) const {
  return maker->make(node_, {phase_, backward, in_, out_});
}

Doubles LayerRun::forward(bool backward, bool in_place) const {
  return Pass(*this, backward).forward(in_place);
}

std::vector<Doubles> LayerRun::moved() const {
  Pass pass(*this, true);
  pass.forward(false);
  return pass.moved();
}

LayerGradients LayerRun::backward(const BackwardCall& call) const {
  Pass pass(*this, true);
  pass.forward(false);
  return pass.backward(call);
}

Results LayerRun::everything(const BackwardCall& call) const {
  Pass pass(*this, true);
  Results all{pass.forward(false)};
  LayerGradients g = pass.backward(call);
  std::vector<Doubles> moved = pass.moved();
  for (std::vector<Doubles>* part : {&g.dx, &g.dparams, &moved})
    std::ranges::move(*part, std::back_inserter(all));
  return all;
}

LayerRun LayerRun::oracle(const Backend& doubles) const {
  std::vector<Spec> in = in_;
  for (Spec& s : in)
    if (s.element != Element::U8) s.element = Element::F64;
  Operation operation = node_.operation;
  if (auto* normalize = std::get_if<ImageNormalize>(&operation)) normalize->element = Element::F64;
  auto* conv = std::get_if<Convolution>(&operation);
  if (conv != nullptr)
    conv->makes_moments = conv->makes_gradient_sums = conv->gradient_on_load = false;
  if (auto* block = std::get_if<InvertedResidual>(&operation)) conv = &block->expand.conv;
  if (conv != nullptr && conv->normalize) conv->normalize->element = Element::F64;
  LayerRun exact(doubles, operation, in, phase_, 0, node_.name);
  for (std::size_t k = 0; k < x.size(); ++k) exact.x[k] = held(in_[k].element, x[k]);
  for (std::size_t k = 0; k < params.size(); ++k) exact.params[k] = held_param(k);
  exact.dy = held(dy_spec().element, dy);
  exact.step = step;
  return exact;
}

std::vector<double> rounding_condition(double unit, const Results& want,
                                       const std::function<Results(const Shake&)>& results,
                                       int times) {
  std::vector<double> allowed(want.size(), 0.0);
  for (int time = 1; time <= times; ++time) {
    const Results got = results([&](Doubles& values) {
      const std::uint64_t seed = 1000 * static_cast<std::uint64_t>(time) + values.size();
      const Doubles noise = uniform_numbers(std::ssize(values), seed);
      for (std::size_t i = 0; i < values.size(); ++i) values[i] *= 1 + 2 * unit * noise[i];
    });
    for (std::size_t k = 0; k < want.size(); ++k)
      for (std::size_t i = 0; i < want[k].size(); ++i)
        allowed[k] = std::max(allowed[k], kRoundingSafety * std::abs(got[k][i] - want[k][i]));
  }
  return allowed;
}

std::vector<double> float_condition(const LayerRun& exact, const Results& want,
                                    const std::function<Results(const LayerRun&)>& results,
                                    int times) {
  return rounding_condition(
      unit_roundoff<float>(), want,
      [&](const Shake& shake) {
        LayerRun noisy = exact;
        for (Doubles& v : noisy.x) shake(v);
        for (Doubles& v : noisy.params) shake(v);
        shake(noisy.dy);
        return results(noisy);
      },
      times);
}

double unit_roundoff_of(Element e) {
  return with_any_type(e, [](auto t) { return unit_roundoff<decltype(t)>(); });
}

double rounding(Element e, double terms, double magnitude) {
  return with_any_type(e, [&](auto t) {
    using Sum = std::conditional_t<std::is_same_v<decltype(t), double>, double, float>;
    return tolerance<decltype(t), Sum>(terms, magnitude);
  });
}

}  // namespace dfengine
