#include "engine/model/onnx_export.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/model/model_metadata.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"
#include "weights/onnx/onnx_writer.h"

namespace dfengine {
namespace {

using weights::OnnxWriter;
using List = std::vector<std::int64_t>;

// What a batch norm multiplies by in inference, and what it then adds.
struct Affine {
  std::vector<double> scale;
  std::vector<float> shift;
};

// One exporting run over the network's own graph, in which batch norms behind a convolution are
// folded and nothing else is fused.
class Exporter {
 public:
  Exporter(const Model& model, OnnxPixels pixels)
      : model_(model),
        pixels_(pixels),
        graph_(fuse(model.network.graph, kFolded,
                    std::vector<bool>(model.network.graph.values().size()))),
        names_(graph_.values().size()),
        writer_(model.config.architecture) {
    const Spec image = model.network.image;
    specs_ = graph_.infer(std::span(&image, 1));
  }

  std::vector<std::byte> run() {
    const Index size = model_.config.input_size;
    writer_.input("images", {OnnxWriter::kBatch, 3, size, size});
    names_[at(graph_.input("images"))] = "images";
    if (model_.config.quantization.empty()) {
      writer_.constant("relu6.low", {}, std::vector<float>{0});
      writer_.constant("relu6.high", {}, std::vector<float>{6});
    }
    for (const Node& node : graph_.nodes()) add(node);
    finish();
    for (const auto& [key, value] : write_metadata(model_)) writer_.metadata(key, value);
    writer_.metadata("normalization", pixels_ == OnnxPixels::Raw ? "inside" : "outside");
    return writer_.serialize();
  }

 private:
  static constexpr Fusion kFolded[] = {fold_norm};

  // An operation without a counterpart here does not compile.
  void add(const Node& node) {
    const std::string& x = names_[at(node.inputs[0])];
    names_[at(node.output)] = std::visit(
        Overload{[&](const ImageNormalize& op) { return normalize(op, node.name, x); },
                 [&](const Convolution& op) { return convolution(op, node, x); },
                 [&](const QuantizedConvolution& op) { return quantized(op, node, x); },
                 [&](const InvertedResidual&) -> std::string {
                   throw Error("layer " + node.name + ": a fused block is not exported to ONNX");
                 },
                 [&](const BatchNorm& op) { return norm(op, node.name, x); },
                 [&](const ExpandDepthwise&) -> std::string {
                   throw Error("layer " + node.name +
                               ": a form of training is not exported to ONNX");
                 },
                 [&](const Activate& op) { return activation(op.activation, node.name, x); },
                 [&](const Add&) {
                   return put("Add", node.name, {x, names_[at(node.inputs[1])]});
                 },
                 [&](const Dropout&) { return x; },
                 [&](const GlobalAveragePool&) {
                   const std::string means = put("GlobalAveragePool", node.name + ".mean", {x});
                   return put("Flatten", node.name, {means}, {{"axis", 1}});
                 },
                 [&](const Dense& op) { return dense(op, node.name, x); },
                 [&](const BceLoss&) -> std::string {
                   throw Error("layer " + node.name + ": a loss is not exported to ONNX");
                 }},
        node.operation);
  }

  std::string activation(Activation activation, const std::string& name, const std::string& x) {
    if (activation == Activation::Relu) return put("Relu", name, {x});
    return put("Clip", name, {x, "relu6.low", "relu6.high"});
  }

  std::string put(const char* op, const std::string& name, const std::vector<std::string>& inputs,
                  const std::vector<OnnxWriter::Attribute>& attributes = {}) {
    writer_.node(op, name, inputs, attributes);
    return name;
  }

  // (x - 255 mean) * 1 / (255 std). Not folded into the stem: its zero padding stands behind it.
  std::string normalize(const ImageNormalize& op, const std::string& name, const std::string& x) {
    if (pixels_ == OnnxPixels::Normalized) return x;
    std::vector<float> shift, scale;
    for (std::size_t c = 0; c < 3; ++c) {
      shift.push_back(static_cast<float>(255 * op.mean[c]));
      scale.push_back(static_cast<float>(1 / (255 * op.std_dev[c])));
    }
    writer_.constant(name + ".mean", {1, 3, 1, 1}, shift);
    writer_.constant(name + ".scale", {1, 3, 1, 1}, scale);
    const std::string centred = put("Sub", name + ".centred", {x, name + ".mean"});
    return put("Mul", name, {centred, name + ".scale"});
  }

  std::vector<float> values(const ParamSpec& p) const {
    return model_.parameters.get(model_.parameters.find(p.name));
  }

  // scale = gamma / sqrt(var + eps), shift = beta - mean * scale.
  Affine affine(const Norm& norm, Index channels) const {
    const std::vector<ParamSpec> of_norm = norm_params(norm, channels);
    const std::vector<float> gamma = values(of_norm[kNormScale]),
                             beta = values(of_norm[kNormShift]), mean = values(of_norm[kNormMean]),
                             var = values(of_norm[kNormVariance]);
    Affine a;
    for (std::size_t k = 0; k < gamma.size(); ++k) {
      a.scale.push_back(gamma[k] / std::sqrt(static_cast<double>(var[k]) + norm.eps));
      a.shift.push_back(static_cast<float>(beta[k] - mean[k] * a.scale[k]));
    }
    return a;
  }

  // One that no convolution in front of it takes over.
  std::string norm(const BatchNorm& op, const std::string& name, const std::string& x) {
    const Affine a = affine({name, op.eps}, op.channels);
    const std::vector<float> scale(a.scale.begin(), a.scale.end());
    writer_.constant(name + ".scale", {op.channels, 1, 1}, scale);
    writer_.constant(name + ".shift", {op.channels, 1, 1}, a.shift);
    const std::string scaled = put("Mul", name + ".scaled", {x, name + ".scale"});
    return put("Add", name, {scaled, name + ".shift"});
  }

  std::string convolution(const Convolution& op, const Node& node, const std::string& x) {
    const std::string& name = node.name;
    const ParamSpec weight = params(op, name)[0];
    std::vector<float> w = values(weight);
    std::vector<std::string> inputs = {x, name + ".weight"};
    Affine a;
    if (op.norm) {
      a = affine(*op.norm, op.out);
      const std::size_t per_channel = w.size() / a.scale.size();
      for (std::size_t i = 0; i < w.size(); ++i)
        w[i] = static_cast<float>(w[i] * a.scale[i / per_channel]);
      inputs.push_back(name + ".bias");
    }
    writer_.constant(name + ".weight", weight.file_shape, w);
    if (op.norm) writer_.constant(name + ".bias", {op.out}, a.shift);
    return put("Conv", name, inputs, window(op, specs_[at(node.inputs[0])].shape.h));
  }

  // x is floats that stand for integers, as the result is: QuantizeLinear and DequantizeLinear
  // around a convolution, of which a runtime makes one of integers. What is added is not rounded
  // before, as in the kernel; the activation is where the integers end.
  std::string quantized(const QuantizedConvolution& op, const Node& node, const std::string& x) {
    const std::string& name = node.name;
    const bool stem = op.conv.groups == 1 && op.conv.window.size > 1;
    std::string y = stem ? stem_sums(op, node, x) : convolution_of_integers(op, node, x);
    if (op.conv.residual) y = put("Add", name + ".sum", {y, names_[at(node.inputs[1])]});
    writer_.constant(name + ".scale", {}, std::vector<float>{op.output.scale});
    writer_.integers(name + ".zero", {}, weights::DType::U8,
                     std::vector<std::int32_t>{op.output.zero});
    put("QuantizeLinear", name + ".quantized", {y, name + ".scale", name + ".zero"});
    return put("DequantizeLinear", name, {name + ".quantized", name + ".scale", name + ".zero"});
  }

  std::string convolution_of_integers(const QuantizedConvolution& op, const Node& node,
                                      const std::string& x) {
    const std::string& name = node.name;
    const std::vector<ParamSpec> of = params(node.operation, name);
    const std::vector<float> w = values(of[0]), scale = values(of[1]);
    bias_of_integers(name, specs_[at(node.inputs[0])].quantization.scale, scale, values(of[2]));
    // Bytes around 128: sums of signed weights saturate in ONNX Runtime on CPUs without VNNI.
    constexpr std::int32_t kZero = 128;
    std::vector<std::int32_t> bytes;
    for (const float v : w) bytes.push_back(static_cast<std::int32_t>(v) + kZero);
    writer_.integers(name + ".integers", of[0].file_shape, weights::DType::U8, bytes);
    writer_.integers(name + ".weight_zero", of[1].file_shape, weights::DType::U8,
                     std::vector<std::int32_t>(scale.size(), kZero));
    writer_.constant(of[1].name, of[1].file_shape, scale);
    put("DequantizeLinear", of[0].name, {name + ".integers", of[1].name, name + ".weight_zero"},
        {{"axis", 0}});
    return put("Conv", name + ".conv", {x, of[0].name, of[2].name},
               window(op.conv, specs_[at(node.inputs[0])].shape.h));
  }

  // Integers as floats, in which its sums are exact. The colour beyond the border is taken from the
  // pixels, so that padding is 0, and its share of the sums is in the bias.
  std::string stem_sums(const QuantizedConvolution& op, const Node& node, const std::string& x) {
    const std::string& name = node.name;
    const std::vector<ParamSpec> of = params(node.operation, name);
    const std::vector<float> w = values(of[0]), scale = values(of[1]), bias = values(of[2]);
    const std::vector<float> colour(op.outside.begin(), op.outside.end());
    writer_.constant("pixels.outside", {1, 3, 1, 1}, colour);
    const std::size_t taps = w.size() / bias.size() / 3;
    std::vector<float> sums;
    for (std::size_t k = 0; k < bias.size(); ++k) {
      double sum = std::nearbyint(static_cast<double>(bias[k]) / scale[k]);
      for (std::size_t i = 0; i < 3 * taps; ++i) sum += w[k * 3 * taps + i] * colour[i / taps];
      sums.push_back(static_cast<float>(sum));
    }
    writer_.constant(of[0].name, of[0].file_shape, w);
    writer_.constant(of[2].name, of[2].file_shape, sums);
    writer_.constant(of[1].name, {op.conv.out, 1, 1}, scale);
    const std::string centred = put("Sub", name + ".centred", {pixels(x), "pixels.outside"});
    const std::string integers = put("Conv", name + ".integers", {centred, of[0].name, of[2].name},
                                     window(op.conv, specs_[at(node.inputs[0])].shape.h));
    return put("Mul", name + ".conv", {integers, of[1].name});
  }

  // A bias as the integer that the kernel adds.
  void bias_of_integers(const std::string& name, float x_scale, const std::vector<float>& scale,
                        const std::vector<float>& bias) {
    std::vector<float> one;
    std::vector<std::int32_t> integers;
    for (std::size_t k = 0; k < bias.size(); ++k) {
      one.push_back(x_scale * scale[k]);
      integers.push_back(static_cast<std::int32_t>(
          std::lrint(bias[k] / (static_cast<double>(x_scale) * scale[k]))));
    }
    const Index count = std::ssize(bias);
    writer_.constant(name + ".bias_scale", {count}, one);
    writer_.integers(name + ".bias_integers", {count}, weights::DType::I32, integers);
    writer_.integers(name + ".bias_zero", {count}, weights::DType::I32,
                     std::vector<std::int32_t>(bias.size()));
    put("DequantizeLinear", name + ".bias",
        {name + ".bias_integers", name + ".bias_scale", name + ".bias_zero"}, {{"axis", 0}});
  }

  // The pixels that a quantized stem takes.
  std::string pixels(const std::string& x) {
    if (pixels_ == OnnxPixels::Raw) return x;
    std::vector<float> shift, scale;
    for (std::size_t c = 0; c < 3; ++c) {
      shift.push_back(static_cast<float>(255 * model_.config.mean[c]));
      scale.push_back(static_cast<float>(255 * model_.config.std_dev[c]));
    }
    writer_.constant("pixels.mean", {1, 3, 1, 1}, shift);
    writer_.constant("pixels.scale", {1, 3, 1, 1}, scale);
    return put("Add", "pixels", {put("Mul", "pixels.scaled", {x, "pixels.scale"}), "pixels.mean"});
  }

  static std::vector<OnnxWriter::Attribute> window(const Convolution& op, Index in) {
    const Window& w = op.window;
    const WindowAxis axis = window_axis(in, w);
    const Index after = (axis.out - 1) * w.stride + w.size - in - axis.before;
    // Torch's rule pads as much behind as before, even where the last window does not reach it.
    const Index end = w.padding == Padding::Torch ? axis.before : after;
    return {{"dilations", List{1, 1}},
            {"group", op.groups},
            {"kernel_shape", List{w.size, w.size}},
            {"pads", List{axis.before, axis.before, end, end}},
            {"strides", List{w.stride, w.stride}}};
  }

  std::string dense(const Dense& op, const std::string& name, const std::string& x) {
    const std::vector<ParamSpec> of_dense = params(op, name);
    for (const ParamSpec& p : of_dense) writer_.constant(p.name, p.file_shape, values(p));
    const std::string y =
        put("Gemm", name, {x, of_dense[0].name, of_dense[1].name}, {{"transB", 1}});
    return op.activation == Activation::None ? y : activation(op.activation, name + ".relu", y);
  }

  // logit / temperature.
  std::string calibrated(const std::string& logit) {
    if (model_.temperature == 1) return logit;
    writer_.constant("calibrate.scale", {1},
                     std::vector<float>{static_cast<float>(1 / model_.temperature)});
    return put("Mul", "calibrate", {logit, "calibrate.scale"});
  }

  // A graph's output has the name of the node that makes it: Identity gives it ours.
  void finish() {
    const bool detector = model_.config.head == Head::Detector;
    const std::string last = model_.config.head == Head::None ? "pooled" : "logits";
    const ValueId value = graph_.output(last);
    const Index width = specs_[at(value)].shape.c;
    if (detector) {
      writer_.output(put("Sigmoid", "prob_fake", {calibrated(names_[at(value)])}),
                     {OnnxWriter::kBatch, width});
    } else if (names_[at(value)] == last) {
      writer_.output(last, {OnnxWriter::kBatch, width});
    } else {
      writer_.output(put("Identity", last, {names_[at(value)]}), {OnnxWriter::kBatch, width});
    }
  }

  const Model& model_;
  OnnxPixels pixels_;
  Graph graph_;
  std::vector<std::string> names_;  // of values, in the ONNX graph
  std::vector<Spec> specs_;         // of values, for one picture
  OnnxWriter writer_;
};

}  // namespace

std::vector<std::byte> model_to_onnx(const Model& model, OnnxPixels pixels) {
  return Exporter(model, pixels).run();
}

void save_onnx(const std::filesystem::path& path, const Model& model, OnnxPixels pixels) {
  write_file_atomic(path, model_to_onnx(model, pixels));
}

}  // namespace dfengine
