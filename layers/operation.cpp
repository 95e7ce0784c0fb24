#include "layers/operation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace dfengine {
namespace {

// The checks that operations share; every fault names the layer.
class Inputs {
 public:
  Inputs(const std::string& name, std::span<const Spec> in) : name_(name), in_(in) {}

  [[noreturn]] void fail(const std::string& problem) const {
    throw ShapeError("layer " + name_ + ": " + problem);
  }
  // So many inputs, none of them empty.
  void expect_count(std::size_t count) const {
    if (in_.size() != count) fail(fmt::format("takes {} inputs, {} were given", count, in_.size()));
    for (const Spec& s : in_)
      if (s.shape.n < 1 || s.shape.h < 1 || s.shape.w < 1 || s.shape.c < 1)
        fail("input " + to_string(s.shape) + " is empty");
  }
  // The same, and all of them floating-point.
  void expect_floats(std::size_t count) const {
    expect_count(count);
    for (const Spec& s : in_)
      if (s.element == Element::U8)
        fail("takes floating-point numbers, input " + to_string(s.shape) + " is uint8");
  }
  void expect_bytes(std::size_t count) const {
    expect_count(count);
    for (const Spec& s : in_)
      if (s.element != Element::U8)
        fail("takes quantized numbers, input " + to_string(s.shape) + " is not");
  }
  void expect_channels(Index channels) const {
    if (in_[0].shape.c != channels)
      fail(fmt::format("takes {} channels, input is {}", channels, to_string(in_[0].shape)));
  }

 private:
  const std::string& name_;
  std::span<const Spec> in_;
};

Spec infer(const ImageNormalize& op, const Inputs& check, std::span<const Spec> in) {
  for (double s : op.std_dev)
    if (!(s > 0)) throw UsageError(fmt::format("standard deviation {} is not positive", s));
  check.expect_count(1);
  if (in[0].element != Element::U8 || in[0].shape.c != 3)
    check.fail("takes uint8 pixels of 3 channels, input is " + to_string(in[0].shape));
  return {in[0].shape, op.element};
}

Spec window_output(const Convolution& op, const Inputs& check, std::span<const Spec> in) {
  check.expect_channels(op.in);
  const Shape& x = in[0].shape;
  const WindowAxis rows = window_axis(x.h, op.window), columns = window_axis(x.w, op.window);
  if (rows.out < 1 || columns.out < 1)
    check.fail("input " + to_string(x) + " is smaller than the window");
  const Spec out{{x.n, rows.out, columns.out, op.out}, in[0].element};
  if (op.residual && in[1].shape != out.shape)
    check.fail("residual " + to_string(in[1].shape) + " does not fit output " +
               to_string(out.shape));
  return out;
}

Spec infer(const Convolution& op, const Inputs& check, std::span<const Spec> in) {
  if (op.normalize) {
    if (op.residual || op.norm_on_load)
      throw UsageError("a convolution of pixels has no other input");
    const Spec x = infer(*op.normalize, check, in);
    return window_output(op, check, std::span(&x, 1));
  }
  check.expect_floats(op.residual || op.norm_on_load ? 2 : 1);
  if (op.norm_on_load && in[1] != Spec{{1, 1, 3, op.in}, Element::F32})
    check.fail("takes scale, shift and mean [1, 1, 3, C], second input is " +
               to_string(in[1].shape));
  return window_output(op, check, in);
}

Spec infer(const QuantizedConvolution& op, const Inputs& check, std::span<const Spec> in) {
  check.expect_bytes(op.conv.residual ? 2 : 1);
  const Quantization& out = op.output;
  if (!(out.scale > 0 && std::isfinite(out.scale)) || out.zero < 0 || out.zero > 255)
    check.fail(fmt::format("scale {} or zero point {} is out of range", out.scale, out.zero));
  // An activation is what a byte cannot go beyond.
  if (op.conv.activation != Activation::None && out.zero != 0)
    check.fail(fmt::format("zero point {} is not where the activation begins", out.zero));
  if (op.conv.groups > 1 && in[0].quantization.zero != 0)
    check.fail("a depthwise input has zero point 0, as its padding does");
  Spec result = window_output(op.conv, check, in);
  result.quantization = out;
  return result;
}

Spec infer(const InvertedResidual& op, const Inputs& check, std::span<const Spec> in) {
  check.expect_count(1);
  Spec x = in[0];
  for (const auto* part : {&op.expand, &op.depthwise, &op.project}) {
    const Spec inputs[] = {x, in[0]};
    x = infer(part->conv, Inputs(part->name, std::span(inputs, part->conv.residual ? 2 : 1)),
              std::span(inputs));
  }
  return x;
}

Spec infer(const BatchNorm& op, const Inputs& check, std::span<const Spec> in) {
  check.expect_floats(1);
  check.expect_channels(op.channels);
  if (op.output == NormOutput::OnLoad) return {{1, 1, 3, op.channels}, Element::F32};
  return in[0];
}

Spec infer(const ExpandDepthwise& op, const Inputs&, std::span<const Spec> in) {
  const Spec wide = infer(op.expand.conv, Inputs(op.expand.name, in), in);
  const std::span<const Spec> inner(&wide, 1);
  infer(op.norm, Inputs(op.norm_name, inner), inner);
  return infer(op.depthwise.conv, Inputs(op.depthwise.name, inner), inner);
}

Spec infer(const Activate& op, const Inputs& check, std::span<const Spec> in) {
  if (op.activation == Activation::None) throw UsageError("an activation layer of no activation");
  check.expect_floats(1);
  return in[0];
}

Spec infer(const Add&, const Inputs& check, std::span<const Spec> in) {
  check.expect_floats(2);
  if (in[0] != in[1])
    check.fail(fmt::format("adds {} and {}", to_string(in[0].shape), to_string(in[1].shape)));
  return in[0];
}

Spec infer(const Dropout& op, const Inputs& check, std::span<const Spec> in) {
  if (!(op.rate >= 0 && op.rate < 1))
    throw UsageError(fmt::format("dropout rate {} is not in [0, 1)", op.rate));
  check.expect_floats(1);
  return in[0];
}

Spec infer(const GlobalAveragePool&, const Inputs& check, std::span<const Spec> in) {
  check.expect_count(1);
  const bool narrow = element_size(in[0].element) < element_size(Element::F32);
  return {{in[0].shape.n, 1, 1, in[0].shape.c}, narrow ? Element::F32 : in[0].element};
}

Spec infer(const Dense& op, const Inputs& check, std::span<const Spec> in) {
  check.expect_floats(1);
  const Shape& x = in[0].shape;
  if (x.h != 1 || x.w != 1 || x.c != op.in)
    check.fail(fmt::format("takes [N, 1, 1, {}], input is {}", op.in, to_string(x)));
  return {{x.n, 1, 1, op.out}, in[0].element};
}

Spec infer(const BceLoss&, const Inputs& check, std::span<const Spec> in) {
  check.expect_floats(2);
  const Shape& z = in[0].shape;
  if (z.count() != z.n || in[0] != in[1])
    check.fail(fmt::format("takes logits and targets [N, 1, 1, 1], inputs are {} and {}",
                           to_string(z), to_string(in[1].shape)));
  return {{1, 1, 1, 1}, in[0].element};
}

std::string base_kind(const Convolution& op) {
  if (op.groups > 1) return "depthwise";
  return op.window.size == 1 ? "pointwise" : "stem";
}

}  // namespace

std::string to_string(const Shape& s) {
  return fmt::format("[{}, {}, {}, {}]", s.n, s.h, s.w, s.c);
}

Index ParamSpec::count() const {
  Index n = 1;
  for (Index d : file_shape) n *= d;
  return n;
}

Index ParamSpec::memory_position(Index i) const {
  if (!channels_last) return i;
  const Index channels = file_shape[1], places = file_shape[2] * file_shape[3];
  const Index k = i / (channels * places), c = i / places % channels, place = i % places;
  return (place * channels + c) * file_shape[0] + k;
}

std::vector<ParamSpec> norm_params(const Norm& norm, Index channels) {
  return {
      {norm.name + ".weight", {channels}, Role::NormScale, {.constant = 1}},
      {norm.name + ".bias", {channels}, Role::NormShift, {}},
      {norm.name + ".running_mean", {channels}, Role::RunningMean, {}},
      {norm.name + ".running_var", {channels}, Role::RunningVar, {.constant = 1}},
  };
}

Spec infer(const Operation& operation, const std::string& name, std::span<const Spec> in) {
  return std::visit([&](const auto& op) { return infer(op, Inputs(name, in), in); }, operation);
}

std::vector<ParamSpec> params(const Operation& operation, const std::string& name) {
  using List = std::vector<ParamSpec>;
  return std::visit(
      Overload{[&](const Convolution& op) {
                 // He's fan is the number of outputs of a weight, as in torchvision's
                 // mobilenetv2.py (mode="fan_out").
                 const Index places = op.window.size * op.window.size;
                 List all = {{name + ".weight",
                              {op.out, op.in / op.groups, op.window.size, op.window.size},
                              Role::Weight,
                              {.he_fan = places * op.out / op.groups},
                              op.window.size > 1}};
                 if (!op.norm) return all;
                 for (ParamSpec& p : norm_params(*op.norm, op.out)) all.push_back(std::move(p));
                 return all;
               },
               [&](const QuantizedConvolution& op) {
                 ParamSpec weight = params(op.conv, name)[0];
                 weight.role = Role::QuantizedWeight;
                 weight.init = {};
                 return List{std::move(weight),
                             {name + ".weight_scale", {op.conv.out}, Role::WeightScale, {1}},
                             {name + ".bias", {op.conv.out}, Role::Bias, {}}};
               },
               [](const InvertedResidual& op) {
                 List all;
                 for (const auto* part : {&op.expand, &op.depthwise, &op.project})
                   std::ranges::move(params(part->conv, part->name), std::back_inserter(all));
                 return all;
               },
               [&](const BatchNorm& op) {
                 return norm_params({name, op.eps}, op.channels);
               },
               [](const ExpandDepthwise& op) {
                 List all = params(op.expand.conv, op.expand.name);
                 std::ranges::move(norm_params({op.norm_name, op.norm.eps}, op.norm.channels),
                                   std::back_inserter(all));
                 std::ranges::move(params(op.depthwise.conv, op.depthwise.name),
                                   std::back_inserter(all));
                 return all;
               },
               [&](const Dense& op) {
                 return List{{name + ".weight", {op.out, op.in}, Role::Weight, {.he_fan = op.in}},
                             {name + ".bias", {op.out}, Role::Bias, {}}};
               },
               [](const auto&) { return List{}; }},
      operation);
}

const Convolution* last_convolution(const Operation& operation) {
  if (const auto* wide = std::get_if<ExpandDepthwise>(&operation)) return &wide->depthwise.conv;
  return std::get_if<Convolution>(&operation);
}
Convolution* last_convolution(Operation& operation) {
  return const_cast<Convolution*>(last_convolution(std::as_const(operation)));  // NOLINT: its own
}

Element computed_in(const Convolution& op, const Spec& in) {
  return op.normalize ? op.normalize->element : in.element;
}

std::string kind(const Operation& operation) {
  return std::visit(
      Overload{[](const ImageNormalize&) -> std::string { return "image_normalize"; },
               [](const Convolution& op) {
                 return base_kind(op) + (op.norm ? "+bn" : "") + activation_suffix(op.activation) +
                        (op.residual ? "+add" : "") + (op.normalize ? " pixels-on-load" : "") +
                        (op.norm_on_load ? " norm-on-load" : "") +
                        (op.makes_moments ? " moments" : "") +
                        (op.makes_gradient_sums ? " gradient-sums" : "") +
                        (op.gradient_on_load ? " gradient-on-load" : "");
               },
               [](const QuantizedConvolution& op) { return "int8 " + kind(op.conv); },
               [](const InvertedResidual& op) {
                 return std::string(op.expand.conv.normalize ? "stem+" : "") + "inverted_residual" +
                        (op.project.conv.residual ? "+add" : "");
               },
               [](const BatchNorm& op) {
                 return (op.frozen_statistics ? "frozen_batch_norm" : "batch_norm") +
                        activation_suffix(op.activation) +
                        (op.output == NormOutput::OnLoad ? " deferred" : "") +
                        (op.moments_given ? " given" : "") +
                        (op.gradient_sums_given ? " gradient-given" : "") +
                        (op.leaves_gradient ? " gradient-left" : "");
               },
               [](const ExpandDepthwise& op) {
                 return base_kind(op.expand.conv) + "+bn" + activation_suffix(op.norm.activation) +
                        "+" + kind(op.depthwise.conv) + " recomputed";
               },
               [](const Activate& op) { return activation_suffix(op.activation).substr(1); },
               [](const Add&) -> std::string { return "residual_add"; },
               [](const Dropout&) -> std::string { return "dropout"; },
               [](const GlobalAveragePool&) -> std::string { return "global_average_pool"; },
               [](const Dense& op) { return "dense" + activation_suffix(op.activation); },
               [](const BceLoss&) -> std::string { return "bce_loss"; }},
      operation);
}

bool passes_gradient(const Operation& operation, std::size_t input) {
  return std::visit(
      Overload{[](const ImageNormalize&) { return false; },
               [&](const Convolution& op) {
                 if (op.inference_form() || op.normalize) return false;
                 return input == (op.norm_on_load ? 1U : 0U);
               },
               [](const QuantizedConvolution&) { return false; },
               [](const InvertedResidual&) { return false; }, [](const Add&) { return true; },
               [&](const ExpandDepthwise& op) { return input == 0 && !op.expand.conv.normalize; },
               [&](const auto&) { return input == 0; }},
      operation);
}

Spec gradient_spec(const Operation& operation, std::span<const Spec> in, const Spec& out) {
  const auto* norm = std::get_if<BatchNorm>(&operation);
  return norm != nullptr && norm->output == NormOutput::OnLoad ? in[0] : out;
}

std::string activation_suffix(Activation activation) {
  switch (activation) {
    case Activation::Relu:
      return "+relu";
    case Activation::Relu6:
      return "+relu6";
    case Activation::None:
      break;
  }
  return "";
}

}  // namespace dfengine
