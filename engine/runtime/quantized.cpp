// Convolutions of 8-bit integers, which the CPU alone has. Prepared: packed weights, bias and
// scale.
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/runtime/convolution.h"
#include "kernels/quantized_conv.h"

namespace dfengine {
namespace {

// A convolution's parameters as the kernels take them.
struct Integers {
  std::vector<std::int8_t> weights;
  std::vector<std::int32_t> bias;
  std::vector<float> scale;
  QuantizedWeights view() const { return {weights.data(), bias.data(), scale.data()}; }
};

// sum' = sum of (x - zero) * w + bias / (x.scale * weight scale), with the zero point's share in
// the bias: all integers but for the rounding of the bias.
template <class Sum>
Integers integers(const std::string& layer, const QuantizedConvolution& op, const Quantization& x,
                  std::span<const ConstPlace> params) {
  const auto *w = params[0].as<Sum>(), *weight_scale = params[1].as<Sum>(),
             *bias = params[2].as<Sum>();
  const WeightLayout layout = weight_layout(op.conv);
  const Index per_channel = op.conv.weights_per_output();
  Integers result;
  for (Index i = 0; i < op.conv.weight_count(); ++i)
    result.weights.push_back(static_cast<std::int8_t>(std::lrint(w[i])));
  // Beyond it a sum does not fit its integer, or is not rounded to one.
  constexpr double kMost = 1 << 30;
  for (Index k = 0; k < op.conv.out; ++k) {
    const std::int8_t* first = result.weights.data() + k * layout.next;
    double offset = bias[k] / (static_cast<double>(x.scale) * weight_scale[k]);
    for (Index i = 0; i < per_channel; ++i)
      offset -= static_cast<double>(x.zero) * first[i * layout.step];
    const double scale = static_cast<double>(x.scale) * weight_scale[k] / op.output.scale;
    const auto rounded = static_cast<std::int32_t>(std::lrint(std::clamp(offset, -kMost, kMost)));
    const auto largest =
        static_cast<double>(cpu::largest_sum(first, per_channel, layout.step, rounded));
    if (!(std::abs(offset) < kMost) || !(largest < kMost) || !(largest * scale < kMost))
      throw ModelFileError("layer " + layer + ": channel " + std::to_string(k) +
                           " has weights, a scale or a bias beyond what 32-bit sums hold");
    result.bias.push_back(rounded);
    result.scale.push_back(static_cast<float>(scale));
  }
  return result;
}

QuantizedEpilogue epilogue(const QuantizedConvolution& op, std::span<const Spec> in,
                           const ForwardIo& io) {
  QuantizedEpilogue e{.zero = op.output.zero};
  if (!op.conv.residual) return e;
  e.residual = io.x[1].as<std::uint8_t>();
  e.residual_zero = in[1].quantization.zero;
  e.residual_scale = in[1].quantization.scale / op.output.scale;
  return e;
}

// What the three kinds share: run(ctx, io, epilogue) queues the kernel.
template <class Sum, class Pack, class Run>
Kernel kernel(const Node& node, const QuantizedConvolution& op, const KernelQuery& query,
              Index bytes, const Pack& pack, const Run& run) {
  Kernel k;
  k.needs.prepared = bytes;
  if (op.conv.residual) k.needs.overwrites_input = 1;
  k.prepare = [=, layer = node.name, x = query.in[0].quantization](
                  std::span<const ConstPlace> params, Place prepared) {
    pack(integers<Sum>(layer, op, x, params).view(), prepared.address);
  };
  k.forward = [=, in = std::vector<Spec>(query.in.begin(), query.in.end())](const StepContext& ctx,
                                                                            const ForwardIo& io) {
    run(ctx.queue.cpu(), io, epilogue(op, in, io));
  };
  return k;
}

}  // namespace

template <class Target>
Kernel Kernels<Target>::operator()(const QuantizedConvolution& op) const {
  if constexpr (Target::kOnDevice) {
    throw UsageError("layer " + node.name + ": a quantized model runs on the CPU: take device cpu");
  } else {
    if (query.backward)
      throw UsageError("layer " + node.name + " (" + kind(op) + "): has no gradient");
    const Convolution& conv = op.conv;
    const Shape& x = query.in[0].shape;
    const Window& window = conv.window;
    if (is_pointwise(conv)) {
      const auto p = PointwiseProblem::make(query.out.shape.rows(), conv.in, conv.out);
      return kernel<Sum>(
          node, op, query, cpu::quantized_pointwise_bytes(p),
          [p](const QuantizedWeights& w, void* packed) {
            cpu::quantized_pointwise_pack(p, w, packed);
          },
          [p](const cpu::Context& ctx, const ForwardIo& io, const QuantizedEpilogue& e) {
            cpu::quantized_pointwise(ctx, p, io.x[0].as<std::uint8_t>(), io.prepared.address, e,
                                     io.y.as<std::uint8_t>());
          });
    }
    if (is_depthwise(conv) && !conv.residual) {
      const auto p = DepthwiseProblem::make(x, window.stride, window.padding);
      return kernel<Sum>(
          node, op, query, cpu::quantized_depthwise_bytes(p),
          [p](const QuantizedWeights& w, void* packed) {
            cpu::quantized_depthwise_pack(p, w, packed);
          },
          [p](const cpu::Context& ctx, const ForwardIo& io, const QuantizedEpilogue& e) {
            cpu::quantized_depthwise(ctx, p, io.x[0].as<std::uint8_t>(), io.prepared.address, e,
                                     io.y.as<std::uint8_t>());
          });
    }
    if (!is_stem(conv) || conv.residual)
      throw UsageError("layer " + node.name + " (" + kind(op) + "): no kernel for a window of " +
                       std::to_string(window.size) + " in " + std::to_string(conv.groups) +
                       " groups");
    const auto p = StemProblem::make(x, conv.out, window.padding, window.stride);
    Kernel k = kernel<Sum>(
        node, op, query, cpu::quantized_stem_bytes(p),
        [p](const QuantizedWeights& w, void* packed) { cpu::quantized_stem_pack(p, w, packed); },
        [p, outside = op.outside](const cpu::Context& ctx, const ForwardIo& io,
                                  const QuantizedEpilogue& e) {
          cpu::quantized_stem(ctx, p, io.x[0].as<std::uint8_t>(), outside, io.prepared.address, e,
                              io.scratch.address, io.y.as<std::uint8_t>());
        });
    k.needs.forward_scratch = cpu::quantized_stem_scratch(p);
    return k;
  }
}

#define DF_INSTANTIATE(Target) \
  template Kernel Kernels<Target>::operator()(const QuantizedConvolution&) const
DF_FOR_EACH_TARGET(DF_INSTANTIATE);
#undef DF_INSTANTIATE

}  // namespace dfengine
