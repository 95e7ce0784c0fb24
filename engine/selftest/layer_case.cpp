#include "engine/selftest/layer_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/activation_function.h"
#include "kernels/base/tolerance.h"
#include "kernels/norm_gradient.h"

namespace dfengine {
namespace {

// What a plan is made of where batch norms store their results.
class StoredNorms final : public KernelMaker {
 public:
  explicit StoredNorms(const KernelMaker& to) : to_(to) {}
  Kernel make(const Node& node, const KernelQuery& query) const override {
    return to_.make(node, query);
  }

 private:
  const KernelMaker& to_;
};

std::vector<Plan> plans(const Network& network, Index pictures, Element element,
                        const KernelMaker& rule) {
  std::vector<Spec> in = {network.image, {{1, 1, 1, 1}, Element::F32}};
  for (Spec& s : in) s.shape.n = pictures;
  const auto plan = [&](const Graph& graph, std::span<const Spec> specs, const PlanOptions& options,
                        const KernelMaker& maker) {
    return Plan::build(with_element(graph, element), specs, options, maker);
  };
  const PlanOptions training{.phase = Phase::Train, .trainable = network.trainable_above(0)};
  std::vector<Plan> all;
  all.push_back(plan(up_to(network.graph, "logits"), std::span(in).first(1), {}, rule));
  all.push_back(plan(with_loss(network.graph), in, training, rule));
  if (rule.loads_norms())
    all.push_back(plan(with_loss(network.graph), in, training, StoredNorms(rule)));
  return all;
}

// Which gradients the plan asks of a node's backward step.
BackwardCall call_of(const Plan& plan, int node) {
  BackwardCall call;
  const auto step = std::ranges::find_if(
      plan.steps(), [&](const Step& s) { return s.kind == StepKind::Backward && s.node == node; });
  for (std::size_t k = 0; k < plan.node(node).inputs.size(); ++k)
    if (step->dx[k] == kNone) call.skip_dx.push_back(k);
  const std::vector<ParamSpec> all = params(plan.node(node).operation, plan.node(node).name);
  for (std::size_t k = 0; k < all.size(); ++k)
    if (!is_learned(all[k].role)) call.skip_dparams.push_back(k);
  return call;
}

LayerCase case_of(const Plan& plan, int i) {
  const Node& node = plan.node(i);
  LayerCase c{.text = {},
              .layer = node.name,
              .operation = node.operation,
              .in = input_specs(node, plan.specs()),
              .phase = plan.phase(),
              .backward = plan.runs_backward(i),
              .call = {}};
  // By itself it has nobody who gives it anything.
  if (auto* norm = std::get_if<BatchNorm>(&c.operation))
    norm->moments_given = norm->gradient_sums_given = norm->leaves_gradient = false;
  c.text = kind(c.operation);
  for (const Spec& in : c.in) c.text += " " + to_string(in.shape);
  c.text += " to " + to_string(plan.spec(node.output).shape);
  c.text += c.phase == Phase::Infer ? ", inference" : c.backward ? ", training" : ", frozen";
  if (!c.backward) return c;
  c.call = call_of(plan, i);
  if (c.call.skip_dx.size() == c.in.size()) c.text += " without dx";
  return c;
}

// The operation without its activation, whose kinks its result has; nothing: it has none.
std::optional<Operation> before_activation(const Operation& operation) {
  if (const auto* norm = std::get_if<BatchNorm>(&operation)) {
    BatchNorm plain = *norm;
    plain.activation = Activation::None;
    plain.output = NormOutput::Values;
    if (norm->activation != Activation::None) return plain;
  }
  if (const auto* dense = std::get_if<Dense>(&operation)) {
    Dense plain = *dense;
    plain.activation = Activation::None;
    if (dense->activation != Activation::None) return plain;
  }
  return std::nullopt;
}

bool leaves_result(const Operation& operation) {
  const auto* norm = std::get_if<BatchNorm>(&operation);
  return norm != nullptr && norm->output == NormOutput::OnLoad;
}

bool loads_norm(const Operation& operation) {
  const auto* conv = std::get_if<Convolution>(&operation);
  return conv != nullptr && conv->norm_on_load;
}

// What a batch norm tells those that read its result on load: [1, 1, 3, C].
Doubles for_readers(const BatchNorm& norm, const LayerRun& exact) {
  const std::size_t c = at(norm.channels);
  const double rows = static_cast<double>(exact.in(0).shape.rows());
  Doubles mean = exact.params[kNormMean], variance = exact.params[kNormVariance], all(3 * c);
  for (std::size_t k = 0; k < c; ++k) {
    if (!norm.frozen_statistics) {
      mean[k] = variance[k] = 0;
      for (std::size_t i = k; i < exact.x[0].size(); i += c) mean[k] += exact.x[0][i] / rows;
      for (std::size_t i = k; i < exact.x[0].size(); i += c)
        variance[k] += (exact.x[0][i] - mean[k]) * (exact.x[0][i] - mean[k]) / rows;
    }
    all[k] = exact.params[kNormScale][k] / std::sqrt(variance[k] + norm.eps);
    all[c + k] = exact.params[kNormShift][k] - mean[k] * all[k];
    all[2 * c + k] = mean[k];
  }
  return all;
}

// What the activation of a norm on load sees, to the bit.
std::vector<float> before_activation(const Convolution& conv, const LayerRun& run) {
  const Doubles x = held(run.in(0).element, run.x[0]);
  const Doubles scale_shift = held(Element::F32, run.x[1]);
  const std::size_t c = at(conv.in);
  std::vector<float> seen(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    seen[i] = std::fma(static_cast<float>(x[i]), static_cast<float>(scale_shift[i % c]),
                       static_cast<float>(scale_shift[c + i % c]));
  return seen;
}

// What a kernel makes of x on load: rounded to x's element.
Doubles normalised(const Convolution& conv, const LayerRun& run) {
  Doubles y;
  for (float seen : before_activation(conv, run))
    y.push_back(static_cast<double>(activate(*conv.norm_on_load, seen)));
  return held(run.in(0).element, y);
}

// Zeros where the activation of a norm on load passes no gradient.
void stop_gradient(const Convolution& conv, const LayerRun& run, Doubles& dx) {
  const std::vector<float> seen = before_activation(conv, run);
  for (std::size_t i = 0; i < dx.size(); ++i)
    if (!passes_gradient(*conv.norm_on_load, seen[i])) dx[i] = 0;
}

// The terms of the layer's longest sum.
double longest_sum(const LayerCase& layer, const Spec& out) {
  const Index rows = layer.in[0].shape.rows();
  const auto with_backward = [&](Index forward, Index data_gradient) {
    return layer.backward ? std::max({forward, data_gradient, out.shape.rows()}) : forward;
  };
  const Index terms = std::visit(
      Overload{[&](const Convolution& op) {
                 const Index window = op.window.size * op.window.size;
                 return with_backward(op.weights_per_output(), window * op.out / op.groups);
               },
               [](const QuantizedConvolution&) { return Index{1}; },  // exact
               [](const InvertedResidual& op) { return op.project.conv.in; },
               [&](const Dense& op) { return with_backward(op.in, op.out); },
               [&](const BatchNorm&) { return rows; }, [&](const ExpandDepthwise&) { return rows; },
               [&](const GlobalAveragePool&) { return rows; }, [&](const BceLoss&) { return rows; },
               [](const ImageNormalize&) { return Index{1}; },
               [](const Activate&) { return Index{1}; }, [](const Add&) { return Index{1}; },
               [](const Dropout&) { return Index{1}; }},
      layer.operation);
  return static_cast<double>(terms);
}

}  // namespace

std::vector<LayerCase> layer_cases(const Network& network, Index pictures, const Backend& backend,
                                   const KernelMaker& rule) {
  std::vector<LayerCase> all;
  std::set<std::string> seen;
  for (const Plan& plan : plans(network, pictures, backend.element(), rule))
    for (int i = 0; i < plan.forward_steps(); ++i) {
      LayerCase c = case_of(plan, i);
      if (seen.insert(c.text).second) all.push_back(std::move(c));
    }
  return all;
}

LayerCheck::LayerCheck(const LayerCase& layer, const Backend& backend, const Backend& doubles,
                       int times)
    : case_(layer), run_(backend, layer.operation, layer.in, layer.phase, 1, layer.layer) {
  choose_numbers(doubles);
  LayerRun exact = exact_run(doubles);
  const bool loads_gradient = !run_.factors.empty();
  const Doubles y = loads_gradient ? exact.forward(true) : Doubles();
  if (loads_gradient) exact.dy = behind_norm(y, [](Doubles&) {});
  const auto results = [this](const LayerRun& run) { return exact_results(run); };
  want_ = results(exact);
  allowed_ = float_condition(exact, want_, results, times);
  // A sum rounds not only its terms but as many partial sums, which grow with the root of their
  // number.
  const double partial_sums = std::sqrt(longest_sum(case_, run_.out()));
  for (double& allowed : allowed_) allowed *= partial_sums;
  // A gradient on load is rounded when it is loaded, and y before.
  if (loads_gradient) {
    const std::vector<double> of_gradient = rounding_condition(
        unit_roundoff_of(backend.element()), want_,
        [&](const Shake& shake) {
          LayerRun noisy = exact;
          noisy.dy = behind_norm(y, shake);
          shake(noisy.dy);
          return results(noisy);
        },
        times);
    for (std::size_t k = 0; k < allowed_.size(); ++k) allowed_[k] += of_gradient[k];
  }
  // Weights that a batch norm was folded into are rounded once more; so are, in a block of several
  // convolutions, the values between them, which are sums over these weights.
  const auto* conv = std::get_if<Convolution>(&case_.operation);
  const bool block = std::holds_alternative<InvertedResidual>(case_.operation);
  if (!block && (conv == nullptr || !conv->norm)) return;
  const std::vector<ParamSpec> specs = params(case_.operation, case_.layer);
  const std::vector<double> of_weights = rounding_condition(
      unit_roundoff_of(backend.element()), want_,
      [&](const Shake& shake) {
        LayerRun noisy = exact;
        for (std::size_t k = 0; k < specs.size(); ++k)
          if (specs[k].role == Role::Weight) shake(noisy.params[k]);
        return results(noisy);
      },
      times);
  for (std::size_t k = 0; k < allowed_.size(); ++k) allowed_[k] += (block ? 2 : 1) * of_weights[k];
}

void LayerCheck::choose_numbers(const Backend& doubles) {
  for (std::size_t k = 0; k < run_.x.size(); ++k)
    if (run_.in(k).element == Element::U8)
      for (double& v : run_.x[k]) v = std::floor((v + 2) * 64);
  if (std::holds_alternative<BceLoss>(case_.operation)) {
    for (std::size_t i = 0; i < run_.x[1].size(); ++i) run_.x[1][i] = static_cast<double>(i % 2);
    run_.dy = {1};
  }
  const auto plain = before_activation(case_.operation);
  if (!case_.backward || !plain) return;
  // Beside a kink rounding decides whether there is a gradient: none goes in there.
  const double distance = 2 * kRoundingSafety * 6 * unit_roundoff_of(run_.in(0).element);
  const Doubles before = with_first_input(*plain, doubles).forward(true);
  for (std::size_t i = 0; i < before.size(); ++i)
    if (std::min(std::abs(before[i]), std::abs(before[i] - 6)) < distance) run_.dy[i] = 0;
}

Doubles LayerCheck::behind_norm(const Doubles& y, const Shake& shake) const {
  const Element element = run_.dy_spec().element;
  const Doubles factors = held(Element::F32, run_.factors);
  const std::size_t c = factors.size() / at(GradientOnLoad::kVectors);
  Doubles result = held(element, y), dy = held(element, run_.dy);
  shake(result);
  shake(dy);
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const double* const f = factors.data() + i % c;
    result[i] = f[0] * dy[i] + f[c] * result[i] + f[2 * c];
  }
  return held(element, result);
}

LayerRun LayerCheck::with_first_input(const Operation& operation, const Backend& doubles) const {
  LayerRun exact(doubles, operation, {{run_.in(0).shape, Element::F64}}, case_.phase, 0,
                 case_.layer);
  exact.x = {held(run_.in(0).element, run_.x[0])};
  for (std::size_t k = 0; k < run_.params.size(); ++k) exact.params[k] = run_.held_param(k);
  exact.dy = held(run_.dy_spec().element, run_.dy);
  exact.step = run_.step;
  return exact;
}

// The CPU knows no norm on load: there the norm's result is stored.
LayerRun LayerCheck::exact_run(const Backend& doubles) const {
  Operation stored = case_.operation;
  if (auto* norm = std::get_if<BatchNorm>(&stored); norm && leaves_result(stored)) {
    norm->output = NormOutput::Values;
    return with_first_input(stored, doubles);
  }
  if (auto* conv = std::get_if<Convolution>(&stored); conv && conv->norm_on_load) {
    conv->norm_on_load.reset();
    conv->makes_moments = conv->makes_gradient_sums = conv->gradient_on_load = false;
    LayerRun exact = with_first_input(stored, doubles);
    exact.x = {normalised(std::get<Convolution>(case_.operation), run_)};
    return exact;
  }
  return run_.oracle(doubles);
}

Results LayerCheck::exact_results(const LayerRun& exact) const {
  if (!case_.backward) {
    if (leaves_result(case_.operation))
      return {for_readers(std::get<BatchNorm>(case_.operation), exact)};
    return {exact.forward(false)};
  }
  BackwardCall call = case_.call;
  if (loads_norm(case_.operation)) {
    // The gradient is that of the second input; the first has none.
    std::erase(call.skip_dx, 0u);
    for (std::size_t& k : call.skip_dx) k = 0;
  }
  Results all = exact.everything(call);
  if (loads_norm(case_.operation)) all.insert(all.begin() + 1, Doubles());
  if (const auto* conv = std::get_if<Convolution>(&case_.operation);
      conv != nullptr && conv->makes_gradient_sums)
    stop_gradient(*conv, run_, all[2]);
  if (leaves_result(case_.operation))
    all[0] = for_readers(std::get<BatchNorm>(case_.operation), exact);
  return all;
}

Element LayerCheck::element_of_result(std::size_t k) const {
  if (k == 0) return run_.out().element;
  if (k <= run_.x.size()) return run_.dx_spec(k - 1).element;
  return run_.backend().parameter_element();
}

std::string LayerCheck::name_of_result(std::size_t k) const {
  if (k == 0) return "y";
  if (k <= run_.x.size()) return "dx" + std::to_string(k - 1);
  const std::vector<ParamSpec> all = params(case_.operation, case_.layer);
  const std::size_t p = k - 1 - run_.x.size();
  if (p < all.size()) return "gradient of " + all[p].name;
  return "next " + all[p - all.size()].name;
}

LayerCheck::Launch LayerCheck::launch_of_result(std::size_t k) const {
  if (k == 0) return kForward;
  return k <= run_.x.size() ? kDataGradient : kWeightGradient;
}

LayerCheck::Outcome LayerCheck::run(const KernelMaker& maker) {
  run_.maker = &maker;
  const Results got = case_.backward ? run_.everything(case_.call) : Results{run_.forward(false)};
  Outcome outcome;
  for (std::size_t k = 0; k < want_.size(); ++k)
    for (std::size_t i = 0; i < want_[k].size(); ++i) {
      const double bound = allowed_[k] + rounding(element_of_result(k), 1, std::abs(want_[k][i]));
      const double share = std::abs(got[k][i] - want_[k][i]) / bound;
      // Written so that a NaN fails.
      if (!(share <= 1) && outcome.failure.empty()) {
        outcome.launch = launch_of_result(k);
        outcome.failure = fmt::format("{}[{}] is {:.6g}, not {:.6g} within {:.2g}",
                                      name_of_result(k), i, got[k][i], want_[k][i], bound);
      }
      outcome.error = std::max(outcome.error, share);
    }
  return outcome;
}

KernelNames LayerCheck::names(const KernelMaker& maker) {
  run_.maker = &maker;
  return run_.kernel(case_.backward).names;
}

}  // namespace dfengine
