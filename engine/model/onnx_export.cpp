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

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

// One exporting run over the network's own graph, unfused.
class Exporter {
 public:
  Exporter(const Model& model, OnnxPixels pixels)
      : model_(model), pixels_(pixels), graph_(model.graph()), names_(graph_.values().size()) {
    const Index size = model.config.input_size;
    const Spec images{{1, size, size, 3}, Element::U8};
    specs_ = graph_.infer(std::span(&images, 1));
  }

  std::vector<std::byte> run() {
    const Index size = model_.config.input_size;
    writer_.input("images", {OnnxWriter::kBatch, 3, size, size});
    names_[at(graph_.input("images"))] = "images";
    writer_.constant("relu6.low", {}, std::vector<float>{0});
    writer_.constant("relu6.high", {}, std::vector<float>{6});
    for (const Node& node : graph_.nodes()) add(node);
    finish();
    for (const auto& [key, value] : write_metadata(model_)) writer_.metadata(key, value);
    writer_.metadata("normalization", pixels_ == OnnxPixels::Raw ? "inside" : "outside");
    return writer_.serialize();
  }

 private:
  void add(const Node& node) {
    const std::string kind = node.layer->kind();
    const std::string& name = node.layer->name();
    std::string& y = names_[at(node.output)];
    const std::string& x = names_[at(node.inputs[0])];
    if (kind == "image_normalize") {
      y = normalize(x);
    } else if (kind == "stem" || kind == "depthwise" || kind == "pointwise") {
      y = x;  // written with its batch norm, which comes next
      convolution_ = &node;
    } else if (kind == "batch_norm") {
      y = convolution(x, *node.layer->norm());
    } else if (kind == "relu6") {
      y = put("Clip", name, {x, "relu6.low", "relu6.high"});
    } else if (kind == "residual_add") {
      y = put("Add", name, {x, names_[at(node.inputs[1])]});
    } else if (kind == "dropout") {
      y = x;
    } else if (kind == "global_average_pool") {
      const std::string means = put("GlobalAveragePool", name + ".mean", {x});
      y = put("Flatten", name, {means}, {{"axis", 1}});
    } else if (kind == "dense" || kind == "dense+relu") {
      y = dense(*node.layer, x, kind == "dense+relu");
    } else {
      throw Error(
          fmt::format("layer {}: \"{}\" has no counterpart in the ONNX export", name, kind));
    }
  }

  std::string put(const char* op, const std::string& name, const std::vector<std::string>& inputs,
                  const std::vector<OnnxWriter::Attribute>& attributes = {}) {
    writer_.node(op, name, inputs, attributes);
    return name;
  }

  // (x - 255 mean) * 1 / (255 std). Not folded into the stem: its zero padding stands behind it.
  std::string normalize(const std::string& x) {
    if (pixels_ == OnnxPixels::Normalized) return x;
    std::vector<float> shift, scale;
    for (std::size_t c = 0; c < 3; ++c) {
      shift.push_back(static_cast<float>(255 * model_.config.mean[c]));
      scale.push_back(static_cast<float>(1 / (255 * model_.config.std_dev[c])));
    }
    writer_.constant("normalize.mean", {1, 3, 1, 1}, shift);
    writer_.constant("normalize.scale", {1, 3, 1, 1}, scale);
    const std::string centred = put("Sub", "normalize.centred", {x, "normalize.mean"});
    return put("Mul", "normalize", {centred, "normalize.scale"});
  }

  std::vector<float> values(const ParamSpec& p) const {
    return model_.parameters.get(model_.parameters.find(p.name));
  }

  // w' = w * gamma / sqrt(var + eps), bias = beta - mean * gamma / sqrt(var + eps).
  std::string convolution(const std::string& x, const FoldedNorm& norm) {
    const Layer& conv = *convolution_->layer;
    const ParamSpec weight = conv.params()[0];
    std::vector<float> w = values(weight);
    const std::vector<float> gamma = values(norm.params[0]), beta = values(norm.params[1]),
                             mean = values(norm.params[2]), var = values(norm.params[3]);
    std::vector<float> bias(gamma.size());
    const std::size_t per_channel = w.size() / gamma.size();
    for (std::size_t k = 0; k < gamma.size(); ++k) {
      const double scale = gamma[k] / std::sqrt(static_cast<double>(var[k]) + norm.eps);
      bias[k] = static_cast<float>(beta[k] - mean[k] * scale);
      for (std::size_t i = 0; i < per_channel; ++i) {
        float& v = w[k * per_channel + i];
        v = static_cast<float>(v * scale);
      }
    }
    const std::string& name = conv.name();
    writer_.constant(name + ".weight", weight.file_shape, w);
    writer_.constant(name + ".bias", {weight.file_shape[0]}, bias);
    return put("Conv", name, {x, name + ".weight", name + ".bias"}, window(weight));
  }

  // Stride and pads follow from the shapes on both sides and the padding rule.
  std::vector<OnnxWriter::Attribute> window(const ParamSpec& weight) const {
    const Shape& in = specs_[at(convolution_->inputs[0])].shape;
    const Shape& out = specs_[at(convolution_->output)].shape;
    const Index kernel = weight.file_shape[2];
    const Index stride = in.h / out.h;  // every input is even where the stride is 2
    List pads(4, 0);
    if (kernel > 1) {
      const WindowAxis axis = window_axis(in.h, {kernel, stride, model_.config.padding});
      const Index after = (axis.out - 1) * stride + kernel - in.h - axis.before;
      // Torch's rule pads by one even where the last window does not reach it.
      const Index end = model_.config.padding == Padding::Torch ? 1 : after;
      pads = {axis.before, axis.before, end, end};
    }
    const Index group = in.c / weight.file_shape[1];
    return {{"dilations", List{1, 1}},
            {"group", group},
            {"kernel_shape", List{kernel, kernel}},
            {"pads", pads},
            {"strides", List{stride, stride}}};
  }

  std::string dense(const Layer& layer, const std::string& x, bool relu) {
    const std::string& name = layer.name();
    const std::vector<ParamSpec> params = layer.params();
    for (const ParamSpec& p : params) writer_.constant(p.name, p.file_shape, values(p));
    const std::string y = put("Gemm", name, {x, params[0].name, params[1].name}, {{"transB", 1}});
    return relu ? put("Relu", name + ".relu", {y}) : y;
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
  const Node* convolution_ = nullptr;
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
