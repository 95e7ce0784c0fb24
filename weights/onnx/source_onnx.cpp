// Family "onnx": a MobileNetV2 as exporters and dfengine write it, its batch norms folded into its
// convolutions or not. Tensors are matched by order and shape, and every node of
// the graph is compared with the published network.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "kernels/base/error.h"
#include "kernels/base/numbers.h"
#include "weights/families/source.h"
#include "weights/onnx/onnx_cursor.h"
#include "weights/onnx/onnx_file.h"
#include "weights/onnx/onnx_head.h"
#include "weights/onnx/onnx_places.h"

namespace dfengine::weights {
namespace {

// "kernel 3,3 strides 2,2" of a Conv line.
std::string_view window_of(std::string_view line) {
  const std::size_t begin = std::min(line.find("kernel "), line.size());
  return line.substr(begin, line.find(" dilations") - begin);
}

std::string window_of(const OnnxPlace& p) {
  return fmt::format("kernel {0},{0} strides {1},{1}", p.kernel, p.stride);
}

std::string_view kernel_of(std::string_view window) {
  return window.substr(0, window.find(" strides"));
}

// Convolutions stay as they are, and batch norms that stand behind them. One that was folded
// becomes the identity that adds the folded bias: gamma 1, mean 0, variance 1 - eps, so that
// folding it again gives the same bits. The metadata then say "bn_folded" = "yes", because the
// statistics are lost and the base is good for inference or for training with the base frozen.
// Where neither file nor graph says it, ImageNet normalisation (with TensorFlow's padding: -1 to
// 1), eps 1e-5 and the padding of the graph are assumed. A head that the engine has not is left
// out. Throws ModelFileError for other strides (the model zoo's mobilenetv2-7), for operators that
// a base has not, and for another order or wiring.
class Translation {
 public:
  Translation(TensorFile file, std::span<const Stage> stages, const std::string& name)
      : file_(std::move(file)), name_(name), places_(onnx_places(stages)), cursor_(file_, name_) {}

  TensorFile run() {
    take_stem_stride();
    refuse_other_strides();
    take_normalization();
    const auto entry = file_.metadata.find("members");
    if (is_ours(file_) && entry != file_.metadata.end()) {
      ensemble(number_of<int>(entry->second).value_or(0));
    } else {
      head(base());
    }
    conventions();
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& cause) const { cursor_.fail(cause); }

  // The zoo's mobilenetv2-7 has the published shapes but other strides, so it would load and give
  // wrong results.
  void refuse_other_strides() const {
    const auto is_hard = [](std::string_view line) { return line.starts_with("Hard"); };
    if (std::ranges::any_of(cursor_.lines(), is_hard)) return;  // MobileNetV3: named by operators
    std::size_t i = 0;
    for (const std::string_view line : cursor_.lines()) {
      if (first_word(line) != "Conv" || i == places_.size()) continue;
      const std::string_view found = window_of(line);
      const std::string wanted = window_of(places_[i]);
      if (kernel_of(found) != kernel_of(wanted)) return;  // another network altogether
      if (found != wanted)
        fail(
            fmt::format("its strides are not MobileNetV2's: {} has \"{}\", expected \"{}\". The "
                        "model zoo's mobilenetv2-7 is such a network; take mobilenetv2-12",
                        places_[i].conv, printable(found), wanted));
      ++i;
    }
  }

  // A stem that keeps every pixel is the one stride that a network may have otherwise.
  void take_stem_stride() {
    file_.metadata.erase("stem_stride");
    for (const std::string_view line : cursor_.lines()) {
      if (first_word(line) != "Conv") continue;
      OnnxPlace one = places_.front();
      one.stride = 1;
      if (window_of(line) != window_of(one)) return;
      places_.front() = one;
      file_.metadata["stem_stride"] = "1";
      return;
    }
  }

  // From the pixels to the result of the last convolution.
  std::string base() {
    inputs_.clear();
    std::string x = inside_ ? normalization() : is_ours(file_) ? "input" : scaling();
    for (int i = 0; i < static_cast<int>(places_.size()); ++i) x = convolution(i, x);
    return x;
  }

  // Detectors of ours that read the same pixels one after the other, and the sum of their logits.
  void ensemble(int members) {
    std::string sum;
    for (; member_ < members; ++member_) {
      const std::size_t first = out_.tensors.size();
      std::string x = base();
      x = cursor_.expect("GlobalAveragePool " + x);
      std::ranges::move(take_member_head(cursor_, x, features(), 2 * member_).tensors,
                        std::back_inserter(out_.tensors));
      for (Tensor& tensor : std::span(out_.tensors).subspan(first))
        tensor.name = fmt::format("{}.{}", member_, tensor.name);
      sum = member_ == 0 ? x : cursor_.expect(fmt::format("Add {} {}", sum, x));
    }
    const std::vector<double> temperature = numbers("temperature");
    take_probability(cursor_, sum, temperature.size() == 1 ? temperature.data() : nullptr);
  }

  // Our own models may scale the pixels themselves: (x - 255 mean) * 1 / (255 std).
  void take_normalization() {
    const auto entry = file_.metadata.extract("normalization");
    inside_ = !entry.empty() && entry.mapped() == "inside";
    for (const char* key : {"mean", "std"})
      if (inside_ && !file_.metadata.contains(key))
        fail(fmt::format("scales pixels itself, but its metadata has no \"{}\"", key));
  }

  std::string normalization() {
    check_constants();
    return cursor_.expect("Mul " + cursor_.expect("Sub input"));
  }

  // The graph must scale as the metadata say, bit by bit, because onnx_export.cpp computed its
  // constants from them.
  void check_constants() const {
    const std::vector<double> mean = numbers("mean"), std_dev = numbers("std");
    const std::vector<float> shift = to_float(cursor_.tensor(fmt::format("sub{}.value", member_)));
    const std::vector<float> scale = to_float(cursor_.tensor(fmt::format("mul{}.value", member_)));
    bool same = mean.size() == 3 && std_dev.size() == 3 && shift.size() == 3 && scale.size() == 3;
    for (std::size_t i = 0; same && i < 3; ++i)
      same = shift[i] == static_cast<float>(255 * mean[i]) &&
             scale[i] == static_cast<float>(1 / (255 * std_dev[i]));
    if (!same) fail("its pixel scaling is not what its metadata 'mean' and 'std' say");
  }

  // A metadata entry of numbers; empty if it is not.
  std::vector<double> numbers(const char* key) const {
    const auto entry = file_.metadata.find(key);
    if (entry == file_.metadata.end()) return {};
    return numbers_of(entry->second).value_or(std::vector<double>());
  }

  // Others scale in any way, pixels from 0 to 255 or from 0 to 1.
  std::string scaling() {
    ChannelScale scale(3);
    const std::string x = cursor_.arithmetic("input", scale);
    if (x == "input") return x;
    // No scaling of numbers from 0 to 1 makes them so small, or shifts them so far.
    constexpr double kSmall = 0.1, kFar = 2;
    const double factor_size = std::abs(scale.factor[0]), shift_size = std::abs(scale.shift[0]);
    const double range = factor_size < kSmall || shift_size > kFar * factor_size ? 255 : 1;
    std::vector<double> mean, std_dev;
    for (std::size_t c = 0; c < 3; ++c) {
      const double factor = range * scale.factor[c];
      mean.push_back(0 - scale.shift[c] / factor);
      std_dev.push_back(1 / factor);
    }
    file_.metadata.emplace("mean", fmt::format("{}", fmt::join(mean, ",")));
    file_.metadata.emplace("std", fmt::format("{}", fmt::join(std_dev, ",")));
    return x;
  }

  std::string convolution(int i, const std::string& x) {
    const OnnxPlace& p = places_[static_cast<std::size_t>(i)];
    inputs_.push_back(x);
    const Tensor& weight = cursor_.tensor(node(i) + ".weight");
    if (weight.shape.size() != 4) fail(p.conv + ": weight has not 4 dimensions");
    const std::int64_t group = p.depthwise ? weight.shape[0] : 1;
    std::string y = cursor_.expect(
        fmt::format("Conv {} {} dilations 1,1 group {} pads {}", x, window_of(p), group, pads(p)));
    y = norm(p, i, y);
    if (p.relu6) y = relu6(y);
    if (!is_residual(p, weight)) return y;
    return cursor_.expect(
        fmt::format("Add {} {}", inputs_[static_cast<std::size_t>(p.skip_from)], y));
  }

  // What the reader calls a convolution of the member at hand.
  std::string node(int i) const {
    return fmt::format("conv{}", member_ * static_cast<int>(places_.size()) + i);
  }

  std::size_t features() const {
    return static_cast<std::size_t>(
        cursor_.tensor(node(static_cast<int>(places_.size()) - 1) + ".weight").shape[0]);
  }

  bool is_residual(const OnnxPlace& p, const Tensor& projection) const {
    if (p.skip_from < 0) return false;
    const Tensor& first = cursor_.tensor(node(p.skip_from) + ".weight");
    // A block without expansion begins with its depthwise convolution: [C, 1, 3, 3].
    const bool depthwise = places_[static_cast<std::size_t>(p.skip_from)].depthwise;
    return first.shape[depthwise ? 0 : 1] == projection.shape[0];
  }

  // The pads this convolution may have. Stride 2 decides which rule the network follows.
  std::string pads(const OnnxPlace& p) {
    const std::string_view found = cursor_.line();
    const bool automatic = found.ends_with(" pads SAME_UPPER");
    if (p.stride == 2) {
      const bool tf = automatic || found.ends_with(" pads 0,0,1,1");
      if (!pad_mode_.empty() && pad_mode_ != (tf ? "tf_same" : "torch"))
        fail(fmt::format("{} is padded by another rule than those before", p.conv));
      pad_mode_ = tf ? "tf_same" : "torch";
      if (tf && !automatic) return "0,0,1,1";
    }
    if (automatic) return "SAME_UPPER";
    return p.kernel == 3 ? "1,1,1,1" : "0,0,0,0";
  }

  // One node or two, in the ways of exporters.
  std::string relu6(const std::string& x) {
    const auto clip = [](const std::string& of, const char* bounds) {
      return fmt::format("Clip {} {}", of, bounds);
    };
    const std::string relu = "Relu " + x, lower = clip(x, "0 none"), upper = clip(x, "none 6");
    for (const std::string& first : {relu, lower}) {
      if (cursor_.line() != first) continue;
      const std::string y = cursor_.expect(first);
      return cursor_.expect(cursor_.line() == clip(y, "0 6") ? clip(y, "0 6") : clip(y, "none 6"));
    }
    if (cursor_.line() != upper) return cursor_.expect(clip(x, "0 6"));
    const std::string y = cursor_.expect(upper);
    return cursor_.expect(cursor_.next_is("Relu") ? "Relu " + y : clip(y, "0 none"));
  }

  // Moves the convolution's weight to its name. Returns its bias; exporters drop one of zeros.
  std::vector<double> take_convolution(const OnnxPlace& p, int i) {
    Tensor weight = cursor_.tensor(node(i) + ".weight");
    if (weight.bytes.empty()) fail(node(i) + ": its weight is empty");
    const std::vector<std::int64_t> channels = {weight.shape[0]};
    const Tensor* bias = file_.find(node(i) + ".bias");
    weight.name = p.conv + ".weight";
    if (bias != nullptr && bias->shape != channels)
      fail(fmt::format("{}: bias [{}] does not fit weight [{}]", weight.name,
                       fmt::join(bias->shape, ", "), fmt::join(weight.shape, ", ")));
    out_.tensors.push_back(std::move(weight));
    return bias != nullptr ? doubles(*bias)
                           : std::vector<double>(static_cast<std::size_t>(channels[0]));
  }

  // The batch norm behind convolution i, whose result is y, or what folding left of it.
  std::string norm(const OnnxPlace& p, int i, const std::string& y) {
    std::vector<double> bias = take_convolution(p, i);
    if (cursor_.next_is("BatchNormalization")) return batch_norm(p, y, bias);
    folded_ = true;
    ChannelScale scale(bias.size());
    const std::string x = cursor_.arithmetic(y, scale);
    for (std::size_t c = 0; x != y && c < bias.size(); ++c)
      bias[c] = bias[c] * scale.factor[c] + scale.shift[c];
    push(p.norm + ".bias", bias);
    push(p.norm + ".weight", scale.factor);
    push(p.norm + ".running_mean", std::vector<double>(bias.size(), 0));
    push(p.norm + ".running_var", std::vector<double>(bias.size(), 1 - eps()));
    return x;
  }

  // A bias of the convolution before it is a shift of the mean.
  std::string batch_norm(const OnnxPlace& p, const std::string& y,
                         const std::vector<double>& bias) {
    const std::string line = fmt::format("BatchNormalization {} eps ", y);
    const std::string found(cursor_.line());
    const auto eps = number_of<double>(std::string_view(found).substr(found.rfind(' ') + 1));
    if (!found.starts_with(line) || !eps || (norm_eps_ && *norm_eps_ != *eps))
      cursor_.mismatch(line + (norm_eps_ ? fmt::format("{}", *norm_eps_) : "E"));
    norm_eps_ = eps;
    const std::string from = fmt::format("norm{}", norms_++);
    for (const char* part : {"weight", "bias", "running_mean", "running_var"}) {
      std::vector<double> values = doubles(cursor_.tensor(fmt::format("{}.{}", from, part)));
      if (values.size() != bias.size())
        fail(fmt::format("{} has {} channels, its convolution {}", p.norm, values.size(),
                         bias.size()));
      for (std::size_t c = 0; part == std::string_view("running_mean") && c < bias.size(); ++c)
        values[c] -= bias[c];
      push(fmt::format("{}.{}", p.norm, part), values);
    }
    return cursor_.expect(found);
  }

  void push(const std::string& name, const std::vector<double>& values) {
    const std::vector<float> rounded(values.begin(), values.end());
    out_.tensors.push_back(
        make_tensor(name, {std::ssize(rounded)}, std::span<const float>(rounded)));
  }

  double eps() const {
    const auto entry = file_.metadata.find("bn_eps");
    if (entry == file_.metadata.end()) return norm_eps_.value_or(kEps);
    const std::string& text = entry->second;
    const auto value = number_of<double>(text);
    if (!value || !(*value > 0 && *value < 1))
      fail(fmt::format("metadata 'bn_eps' is '{}', not a number between 0 and 1", printable(text)));
    return *value;
  }

  // What stands behind the last convolution. A head of others that the engine has not is left out,
  // with its weights under the reader's names.
  void head(const std::string& x) {
    if (cursor_.at_end()) return;
    const std::vector<double> temperature =
        is_ours(file_) ? numbers("temperature") : std::vector<double>();
    try {
      DenseHead::Result made =
          take_onnx_head(cursor_, cursor_.expect("GlobalAveragePool " + x), features(),
                         temperature.size() == 1 ? temperature.data() : nullptr);
      if (!is_ours(file_) && made.is_detector()) file_.metadata[kAssumed] = assumptions(made);
      std::ranges::move(made.tensors, std::back_inserter(out_.tensors));
    } catch (const ModelFileError& e) {
      if (is_ours(file_)) throw;
      for (int i = 0; const Tensor* t = file_.find(fmt::format("gemm{}.weight", i)); ++i)
        out_.tensors.push_back(*t);
      std::string_view cause = e.what();
      const std::string before = name_ + ": ONNX model: ";
      if (cause.starts_with(before)) cause.remove_prefix(before.size());
      file_.metadata[kLeftOut] += fmt::format("its head: {}\n", cause);
    }
  }

  std::string assumptions(const DenseHead::Result& made) const {
    std::string lines = fmt::format("{} means fake\n", kAssumedLabel);
    if (!file_.metadata.contains("mean"))
      lines += fmt::format("{} {} go in\n", kAssumedPixels,
                           pad_mode_ == "torch" ? "scaled as for ImageNet" : "from -1 to 1");
    for (const std::string& line : made.assumed) lines += line + "\n";
    return lines;
  }

  void conventions() {
    out_.metadata = std::move(file_.metadata);
    out_.metadata.erase(kOnnxNodes);
    auto size = out_.metadata.extract(kOnnxInputSize);
    if (!size.empty()) out_.metadata.emplace("input_size", size.mapped());
    const bool torch = pad_mode_ == "torch";
    out_.metadata.emplace("pad_mode", pad_mode_);
    out_.metadata.emplace("bn_eps", fmt::format("{}", norm_eps_.value_or(kEps)));
    out_.metadata.emplace("mean", torch ? "0.485,0.456,0.406" : "0.5,0.5,0.5");
    out_.metadata.emplace("std", torch ? "0.229,0.224,0.225" : "0.5,0.5,0.5");
    if (folded_) out_.metadata["bn_folded"] = "yes";
    if (out_.metadata["pad_mode"] != pad_mode_)
      fail(fmt::format("metadata 'pad_mode' is '{}', the graph pads as {}",
                       printable(out_.metadata["pad_mode"]), pad_mode_));
  }

  static constexpr double kEps = 1e-5;  // where the graph has no batch norm

  TensorFile file_, out_;
  const std::string& name_;
  std::vector<OnnxPlace> places_;
  OnnxCursor cursor_;
  bool inside_ = false;              // the graph scales the pixels, and as the metadata say
  int member_ = 0;                   // of an ensemble, the one at hand
  std::vector<std::string> inputs_;  // of each of its convolutions so far
  std::string pad_mode_;
  std::optional<double> norm_eps_;  // of the batch norms in the graph
  bool folded_ = false;
  int norms_ = 0;
};

}  // namespace

constinit const Source kOnnx = {
    "onnx", [](const TensorFile& file) { return file.metadata.contains(kOnnxNodes); },
    [](TensorFile file, std::span<const Stage> stages, const std::string& name_for_errors) {
      return Translation(std::move(file), stages, name_for_errors).run();
    }};

}  // namespace dfengine::weights
