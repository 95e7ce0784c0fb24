// Family "onnx": a MobileNetV2 whose batch norms are folded into its convolutions, as PyTorch
// exports it and as dfengine writes it. Tensors are matched by order and shape, and every node of
// the graph is compared with the published network.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "kernels/base/error.h"
#include "kernels/base/numbers.h"
#include "weights/families/source.h"
#include "weights/onnx/onnx_file.h"

namespace dfengine::weights {
namespace {

// A convolution of the network and what its node in the graph must be.
struct Place {
  std::string conv, norm;  // torchvision's names
  int kernel, stride;
  bool depthwise, relu6;
  int skip_from;  // the block's first convolution if it has stride 1 and ends here, else -1
};

std::vector<Place> graph_places(std::span<const Stage> stages) {
  std::vector<Place> places;
  int first = 0;  // convolution of the block
  for (const ConvPlace& at : conv_places(stages)) {
    const ConvNames names = torchvision_names(at);
    const bool stem = at.role == ConvRole::Stem, depthwise = at.role == ConvRole::Depthwise;
    const bool ends_block = at.role == ConvRole::Project;
    if (at.role == (at.expanded ? ConvRole::Expand : ConvRole::Depthwise))
      first = static_cast<int>(places.size());
    places.push_back({.conv = names.conv,
                      .norm = names.norm,
                      .kernel = stem || depthwise ? 3 : 1,
                      .stride = stem        ? 2
                                : depthwise ? at.stride
                                            : 1,
                      .depthwise = depthwise,
                      .relu6 = !ends_block,
                      .skip_from = ends_block && at.stride == 1 ? first : -1});
  }
  return places;
}

std::string_view first_word(std::string_view line) {
  return line.substr(0, line.find(' '));
}

// "kernel 3,3 strides 2,2" of a Conv line.
std::string_view window_of(std::string_view line) {
  const std::size_t begin = std::min(line.find("kernel "), line.size());
  return line.substr(begin, line.find(" dilations") - begin);
}

std::string window_of(const Place& p) {
  return fmt::format("kernel {0},{0} strides {1},{1}", p.kernel, p.stride);
}

std::string_view kernel_of(std::string_view window) {
  return window.substr(0, window.find(" strides"));
}

// Convolutions stay as they are. Each batch norm becomes the identity that adds the folded bias:
// gamma 1, mean 0, variance 1 - eps, so that folding it again gives the same bits. The metadata say
// "bn_folded" = "yes", because the statistics are lost and the base is good for inference or for
// training with the base frozen. Where the file says nothing, ImageNet normalisation, eps 1e-5 and
// the padding of the graph are assumed. Throws ModelFileError for other strides (the model zoo's
// mobilenetv2-7), for operators that a folded MobileNetV2 has not, and for another order or wiring.
class Translation {
 public:
  Translation(TensorFile file, std::span<const Stage> stages, const std::string& name)
      : file_(std::move(file)),
        name_(name),
        places_(graph_places(stages)),
        lines_(lines_of(file_.metadata.at(kOnnxNodes))) {}

  TensorFile run() {
    refuse_other_strides();
    refuse_other_operators();
    std::string x = normalization();
    for (int i = 0; i < static_cast<int>(places_.size()); ++i) x = convolution(i, x);
    x = expect("GlobalAveragePool " + x);
    head(x);
    if (at_ < lines_.size()) mismatch("nothing more");
    conventions();
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& cause) const {
    throw ModelFileError(name_ + ": ONNX model: " + cause);
  }

  [[noreturn]] void mismatch(const std::string& wanted) const {
    const std::string found = at_ < lines_.size() ? "is \"" + printable(lines_[at_]) + '"'
                                                  : std::string("does not exist");
    fail(fmt::format("is not MobileNetV2: node {} {}, expected \"{}\"", at_, found, wanted));
  }

  // Takes the next line if it is as expected. Returns the operand that names its result.
  std::string expect(const std::string& line) {
    if (at_ >= lines_.size() || lines_[at_] != line) mismatch(line);
    return fmt::format("%{}", at_++);
  }

  bool next_is(std::string_view op) const {
    return at_ < lines_.size() && first_word(lines_[at_]) == op;
  }

  // The zoo's mobilenetv2-7 has the published shapes but other strides, so it would load and give
  // wrong results.
  void refuse_other_strides() const {
    std::size_t i = 0;
    for (const std::string_view line : lines_) {
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

  void refuse_other_operators() const {
    constexpr std::string_view kKnown[] = {
        "Conv", "Clip", "Add", "GlobalAveragePool", "Gemm", "Relu", "Sub", "Sigmoid", "Mul"};
    std::map<std::string, int> others;
    for (const std::string_view line : lines_) {
      const std::string_view op = first_word(line);
      if (std::ranges::find(kKnown, op) == std::end(kKnown)) ++others[printable(op)];
    }
    if (others.empty()) return;
    std::string list;
    for (const auto& [op, count] : others)
      list += fmt::format("{}{} ({}x)", list.empty() ? "" : ", ", op, count);
    fail(fmt::format("has operators that a folded MobileNetV2 has not: {}{}", list,
                     others.contains("BatchNormalization")
                         ? "; export it in inference mode with constant folding, or convert the "
                           "weights it was exported from"
                         : ""));
  }

  // Our own models may scale the pixels themselves: (x - 255 mean) * 1 / (255 std).
  std::string normalization() {
    const auto entry = file_.metadata.find("normalization");
    const bool inside = entry != file_.metadata.end() && entry->second == "inside";
    if (entry != file_.metadata.end()) file_.metadata.erase(entry);
    if (!inside) return "input";
    for (const char* key : {"mean", "std"})
      if (!file_.metadata.contains(key))
        fail(fmt::format("scales pixels itself, but its metadata has no \"{}\"", key));
    check_constants();
    return expect("Mul " + expect("Sub input"));
  }

  // The graph must scale as the metadata say, bit by bit, because onnx_export.cpp computed its
  // constants from them.
  void check_constants() const {
    const std::vector<double> mean = numbers("mean"), std_dev = numbers("std");
    const std::vector<float> shift = to_float(tensor("sub0.value"));
    const std::vector<float> scale = to_float(tensor("mul0.value"));
    bool same = mean.size() == 3 && std_dev.size() == 3 && shift.size() == 3 && scale.size() == 3;
    for (std::size_t i = 0; same && i < 3; ++i)
      same = shift[i] == static_cast<float>(255 * mean[i]) &&
             scale[i] == static_cast<float>(1 / (255 * std_dev[i]));
    if (!same) fail("its pixel scaling is not what its metadata 'mean' and 'std' say");
  }

  // A metadata entry of numbers; empty if it is not.
  std::vector<double> numbers(const char* key) const {
    return numbers_of(file_.metadata.at(key)).value_or(std::vector<double>());
  }

  std::string convolution(int i, const std::string& x) {
    const Place& p = places_[static_cast<std::size_t>(i)];
    inputs_.push_back(x);
    const Tensor& weight = tensor(fmt::format("conv{}.weight", i));
    if (weight.shape.size() != 4) fail(p.conv + ": weight has not 4 dimensions");
    const std::int64_t group = p.depthwise ? weight.shape[0] : 1;
    std::string line =
        fmt::format("Conv {} {} dilations 1,1 group {} pads ", x, window_of(p), group);
    line += pads(p, line);
    std::string y = expect(line);
    if (p.relu6) y = expect(fmt::format("Clip {} 0 6", y));
    add_norm(p, i);
    if (!is_residual(p, weight)) return y;
    return expect(fmt::format("Add {} {}", inputs_[static_cast<std::size_t>(p.skip_from)], y));
  }

  bool is_residual(const Place& p, const Tensor& projection) const {
    if (p.skip_from < 0) return false;
    const Tensor& first = tensor(fmt::format("conv{}.weight", p.skip_from));
    // A block without expansion begins with its depthwise convolution: [C, 1, 3, 3].
    const bool depthwise = places_[static_cast<std::size_t>(p.skip_from)].depthwise;
    return first.shape[depthwise ? 0 : 1] == projection.shape[0];
  }

  // The pads this convolution may have. Stride 2 decides which rule the network follows.
  std::string pads(const Place& p, const std::string& line_before) {
    const std::string_view found = at_ < lines_.size() ? lines_[at_] : line_before;
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

  const Tensor& tensor(const std::string& name) const {
    const Tensor* t = file_.find(name);
    if (t == nullptr) fail(fmt::format("is not a folded MobileNetV2: no {}", name));
    return *t;
  }

  // Moves node.weight and node.bias to their names. Exporters drop a bias of zeros.
  void move_weights(const std::string& node, const std::string& weight_name,
                    const std::string& bias_name) {
    Tensor weight = tensor(node + ".weight");
    if (weight.shape.empty() || weight.bytes.empty()) fail(node + ": its weight is empty");
    const std::vector<std::int64_t> channels = {weight.shape[0]};
    const Tensor* bias = file_.find(node + ".bias");
    if (bias != nullptr && bias->shape != channels)
      fail(fmt::format("{}: bias [{}] does not fit weight [{}]", weight_name,
                       fmt::join(bias->shape, ", "), fmt::join(weight.shape, ", ")));
    weight.name = weight_name;
    out_.tensors.push_back(std::move(weight));
    out_.tensors.push_back(bias ? *bias : filled(bias_name, channels[0], 0));
    out_.tensors.back().name = bias_name;
  }

  static Tensor filled(const std::string& name, std::int64_t count, double value) {
    const std::vector<float> values(static_cast<std::size_t>(count), static_cast<float>(value));
    return make_tensor(name, {count}, values);
  }

  void add_norm(const Place& p, int i) {
    move_weights(fmt::format("conv{}", i), p.conv + ".weight", p.norm + ".bias");
    const std::int64_t channels = out_.tensors.back().shape[0];
    out_.tensors.push_back(filled(p.norm + ".weight", channels, 1));
    out_.tensors.push_back(filled(p.norm + ".running_mean", channels, 0));
    out_.tensors.push_back(filled(p.norm + ".running_var", channels, 1 - eps()));
  }

  double eps() const {
    const auto entry = file_.metadata.find("bn_eps");
    if (entry == file_.metadata.end()) return 1e-5;
    const std::string& text = entry->second;
    const auto value = number_of<double>(text);
    if (!value || !(*value > 0 && *value < 1))
      fail(fmt::format("metadata 'bn_eps' is '{}', not a number between 0 and 1", printable(text)));
    return *value;
  }

  // There is no head, or ImageNet's one dense layer, or the detector's two with or without the
  // sigmoid.
  void head(const std::string& pooled) {
    if (!next_is("Gemm")) return;
    const std::string x = dense(pooled, 0);
    if (at_ == lines_.size()) return rename_dense({"classifier.1"});
    const std::string logits = calibrated(dense(expect("Relu " + x), 1));
    if (next_is("Sigmoid")) expect("Sigmoid " + logits);
    rename_dense({"head.fc1", "head.fc2"});
  }

  // Our own calibrated models divide the logit by the metadata's temperature.
  std::string calibrated(const std::string& logits) {
    if (!next_is("Mul")) return logits;
    const auto before = lines_.begin() + static_cast<std::ptrdiff_t>(at_);
    const auto muls = std::ranges::count(lines_.begin(), before, "Mul", first_word);
    const std::vector<float> scale = to_float(tensor(fmt::format("mul{}.value", muls)));
    const std::vector<double> temperature =
        file_.metadata.contains("temperature") ? numbers("temperature") : std::vector<double>();
    if (scale.size() != 1 || temperature.size() != 1 ||
        scale[0] != static_cast<float>(1 / temperature[0]))
      fail("scales its logit in another way than its metadata's 'temperature' says");
    return expect("Mul " + logits);
  }

  std::string dense(const std::string& x, int i) {
    const char* kLine = "Gemm {} transA 0 transB {} alpha 1 beta 1";
    const bool plain = next_is("Gemm") && lines_[at_] == fmt::format(fmt::runtime(kLine), x, 0);
    if (plain) transpose(fmt::format("gemm{}.weight", i));
    return expect(fmt::format(fmt::runtime(kLine), x, plain ? 0 : 1));
  }

  // [C, K] -> [K, C].
  void transpose(const std::string& name) {
    const Tensor& from = tensor(name);
    if (from.shape.size() != 2 || from.bytes.empty()) fail(name + " is not a matrix");
    constexpr std::size_t kAxes[] = {1, 0};
    *std::ranges::find(file_.tensors, name, &Tensor::name) = transposed(from, kAxes);
  }

  void rename_dense(const std::vector<std::string>& names) {
    for (std::size_t i = 0; i < names.size(); ++i)
      move_weights(fmt::format("gemm{}", i), names[i] + ".weight", names[i] + ".bias");
  }

  void conventions() {
    out_.metadata = std::move(file_.metadata);
    out_.metadata.erase(kOnnxNodes);
    auto size = out_.metadata.extract(kOnnxInputSize);
    if (!size.empty()) out_.metadata.emplace("input_size", size.mapped());
    out_.metadata.emplace("pad_mode", pad_mode_);
    out_.metadata.emplace("bn_eps", "1e-05");
    out_.metadata.emplace("mean", "0.485,0.456,0.406");
    out_.metadata.emplace("std", "0.229,0.224,0.225");
    out_.metadata["bn_folded"] = "yes";
    if (out_.metadata["pad_mode"] != pad_mode_)
      fail(fmt::format("metadata 'pad_mode' is '{}', the graph pads as {}",
                       printable(out_.metadata["pad_mode"]), pad_mode_));
  }

  TensorFile file_, out_;
  const std::string& name_;
  std::vector<Place> places_;
  std::vector<std::string_view> lines_;
  std::vector<std::string> inputs_;  // of each convolution so far
  std::string pad_mode_;
  std::size_t at_ = 0;
};

}  // namespace

constinit const Source kOnnx = {
    "onnx", [](const TensorFile& file) { return file.metadata.contains(kOnnxNodes); },
    [](TensorFile file, std::span<const Stage> stages, const std::string& name_for_errors) {
      return Translation(std::move(file), stages, name_for_errors).run();
    }};

}  // namespace dfengine::weights
