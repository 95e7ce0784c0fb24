// The operations that networks are made of, as values: shapes and parameters, no memory and no
// kernels. The set is closed: the exporter, the costs, the dump and each backend visit it, so that
// an operation which one of them does not know does not compile.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "layers/parameter.h"
#include "layers/spec.h"

namespace dfengine {

// Pixels to network input: [N, H, W, 3] uint8 -> (x / 255 - mean) / std_dev in the given element.
struct ImageNormalize {
  std::array<double, 3> mean = {0, 0, 0};
  std::array<double, 3> std_dev = {1, 1, 1};
  Element element = Element::F32;
};

// A batch norm as its parameters and its readers know it. Its parameters are NAME.weight (scale),
// NAME.bias (shift), NAME.running_mean and NAME.running_var, each [C], in this order.
struct Norm {
  std::string name;
  double eps = 1e-5;
};
enum NormParam : std::size_t { kNormScale, kNormShift, kNormMean, kNormVariance };
std::vector<ParamSpec> norm_params(const Norm& norm, Index channels);

// y = x * w over a window: [N, H, W, in] -> [N, P, Q, out]. Parameter: NAME.weight [out, in /
// groups, size, size].
struct Convolution {
  Index in = 0, out = 0;  // channels
  Index groups = 1;       // in: depthwise
  Window window = {};
  // Inference form: a batch norm folded into weight and bias, whose parameters follow the weight;
  // an activation behind it; a second input [N, P, Q, out] added last. Has no gradient.
  std::optional<Norm> norm = {};
  Activation activation = Activation::None;
  bool residual = false;
  // The stem: the input are pixels, uint8, which the kernel normalises as it loads them.
  std::optional<ImageNormalize> normalize = {};
  // Training form: the input is that of a batch norm whose result is computed as it is loaded
  // (kernels/norm_on_load.h), with this activation. The second input is the batch norm's
  // NormOutput::OnLoad.
  std::optional<Activation> norm_on_load = {};
  // Training form: beside the result the kernel makes its channels' moments, for the batch norm
  // that reads it (kernels/channel_moments.h). They are no value of the graph; a plan hands them
  // on.
  bool makes_moments = false;
  // Training form, beside norm_on_load: the gradient that it gives is that behind the activation,
  // and the kernel makes the sums that the batch norm needs of it (kernels/norm_gradient.h).
  bool makes_gradient_sums = false;
  // Training form: the gradient that it is given has still to take the last step of the gradient of
  // the batch norm that reads the result.
  bool gradient_on_load = false;

  bool inference_form() const { return norm || activation != Activation::None || residual; }
  Index weights_per_output() const { return in / groups * window.size * window.size; }
  Index weight_count() const { return out * weights_per_output(); }
};

// A convolution of 8-bit integers (kernels/quantized_conv.h): inputs and the result in uint8, as
// their specs' quantization says. Parameters: NAME.weight in the shape of Convolution's, integers;
// NAME.weight_scale [out], what 1 of them stands for; NAME.bias [out].
struct QuantizedConvolution {
  Convolution conv;  // without norm; in inference form else
  Quantization output = {};
  // The stem: the pixel that stands for zero in front of the normalisation, which its weights
  // contain, lies beyond the border.
  std::array<std::uint8_t, 3> outside = {};
};

// An inverted residual block in inference form, as one operation: expand (pointwise, or a stem of
// pixels), depthwise and project, each with its norm. Where project has a
// residual, that is the block's input. Parameters: those of the three, one after the other.
struct InvertedResidual {
  struct Part {
    std::string name;
    Convolution conv;
  };
  Part expand, depthwise, project;
};

// What a batch norm writes: its result, or what its readers need to compute it: [1, 1, 3, C] in
// float, scale, shift and mean. The gradient of that value is the gradient of the result.
enum class NormOutput { Values, OnLoad };

// Batch normalisation over N, H, W with an optional activation behind it. Trains on batch
// statistics unless they are frozen.
struct BatchNorm {
  Index channels = 0;
  double eps = 1e-5;
  double momentum = 0.1;
  Activation activation = Activation::None;
  bool frozen_statistics = false;
  NormOutput output = NormOutput::Values;
  bool moments_given = false;        // by the convolution that makes its input
  bool gradient_sums_given = false;  // by the convolution that reads its result
  bool leaves_gradient = false;      // its last step, to the convolution that makes its input
};

// The wide half of an inverted residual block in training, as one operation: expand (pointwise, or
// a stem of pixels), its batch norm with the batch's statistics, depthwise. Their wide values are
// not stored but made again in backward (kernels/expand_depthwise.h). It makes the moments of its
// result. Parameters: those of the three, one after the other.
struct ExpandDepthwise {
  InvertedResidual::Part expand;
  std::string norm_name;
  BatchNorm norm;
  InvertedResidual::Part depthwise;
};

// Relu or Relu6.
struct Activate {
  Activation activation = Activation::Relu6;
};

// y = first + second; the second is the skip.
struct Add {};

// Inverted dropout; the identity outside of training. 0 <= rate < 1.
struct Dropout {
  double rate = 0;
};

// [N, H, W, C] -> [N, 1, 1, C]; 16-bit and quantized inputs become float, as everything behind is
// small.
struct GlobalAveragePool {};

// y = activation(x w^T + b): [N, 1, 1, in] -> [N, 1, 1, out]. Parameters: NAME.weight [out, in]
// and NAME.bias [out], as torch.nn.Linear.
struct Dense {
  Index in = 0, out = 0;
  Activation activation = Activation::None;
};

// Binary cross-entropy with logits: logits and targets [N, 1, 1, 1] -> mean loss [1, 1, 1, 1], with
// a weight for each class. Backward starts here: the seed gradient is 1.
struct BceLoss {
  double real_weight = 1, fake_weight = 1;
};

using Operation =
    std::variant<ImageNormalize, Convolution, QuantizedConvolution, InvertedResidual, BatchNorm,
                 ExpandDepthwise, Activate, Add, Dropout, GlobalAveragePool, Dense, BceLoss>;

inline constexpr std::size_t kMaxInputs = 2;

// Makes one visitor of several lambdas.
template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;

// The convolution that makes the operation's result in training; null: another operation makes it.
const Convolution* last_convolution(const Operation& operation);
Convolution* last_convolution(Operation& operation);

// What a convolution computes in, where it has this input.
Element computed_in(const Convolution& op, const Spec& in);

// Output of these inputs; throws ShapeError naming the layer and the shapes, UsageError for an
// operation that makes no sense.
Spec infer(const Operation& operation, const std::string& name, std::span<const Spec> in);

// In the order in which backends get them.
std::vector<ParamSpec> params(const Operation& operation, const std::string& name);

// For plan dumps, with what is fused and handed on: "pointwise+bn+relu6 pixels-on-load".
std::string kind(const Operation& operation);

// Whether backward gives a gradient for this input.
bool passes_gradient(const Operation& operation, std::size_t input);

// The gradient of the output, where it is another one than the output's own.
Spec gradient_spec(const Operation& operation, std::span<const Spec> in, const Spec& out);

// "", "+relu", "+relu6".
std::string activation_suffix(Activation activation);

}  // namespace dfengine
