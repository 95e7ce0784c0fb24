#include "engine/model/quantize.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/model/predictor.h"
#include "engine/runtime/folding.h"
#include "kernels/base/error.h"
#include "kernels/base/half.h"
#include "kernels/base/sigmoid.h"

namespace dfengine {
namespace {

// A folded convolution whose input and output are what is represented of them.
struct Represented {
  std::vector<double> weights, bias;  // weights in the order of memory
  std::vector<double> input_mean;     // by input channel
};

// The input channel of the weight in place i of memory; depthwise, it is the output's.
std::size_t input_channel_of(const Convolution& op, std::size_t i) {
  return op.groups > 1 ? channel_of(op, i) : i / at(weight_layout(op).step) % at(op.in);
}

// One rule's model.
class Quantizer {
 public:
  Quantizer(const Model& model, const Calibration& calibration,
            const std::vector<ResultStatistics>& results, RangeRule rule)
      : model_(model),
        graph_(calibration.graph()),
        convolutions_(calibration.convolutions()),
        results_(results) {
    for (std::size_t i = 0; i < convolutions_.size(); ++i)
      outputs_[convolutions_[i]->name] = quantization_of(results[i], rule);
  }

  Model run() {
    NetworkConfig config = model_.config;
    config.quantization = outputs_;
    ModelMetadata metadata = model_;
    metadata.config = config;
    Network network = make_network(config);
    ParameterStore store(network.graph.params(), Element::F32, 0);
    Model result{std::move(metadata), std::move(network), std::move(store)};
    for (const ParamSpec& p : result.parameters.specs())
      if (const int from = model_.parameters.find(p.name);
          from >= 0 && p.role != Role::QuantizedWeight)
        result.parameters.set(result.parameters.find(p.name),
                              std::span<const float>(kept(p, model_.parameters.get(from))));
    for (std::size_t i = 0; i < convolutions_.size(); ++i) write(i, result.parameters);
    return result;
  }

 private:
  // What is not quantized. The head's matrices, a quarter of the file in float, are rounded to
  // halves.
  static std::vector<float> kept(const ParamSpec& p, std::vector<float> values) {
    if (p.role != Role::Weight) return values;
    for (float& v : values) {
      const float half = f16_to_float(float_to_f16(v));
      if (!std::isfinite(half))
        throw ModelFileError(
            p.name + " has the value " + std::to_string(v) +
            ", too large for a quantized model, which stores it in half precision");
      v = half;
    }
    return values;
  }

  // Of the convolution that makes the value; null for the network's input.
  const ResultStatistics* statistics_of(ValueId value) const {
    const auto found = std::ranges::find(convolutions_, graph_.producer(value));
    return found == convolutions_.end() ? nullptr : &results_[at(found - convolutions_.begin())];
  }

  FoldedWeights<float> folded(const Node& node) const {
    std::vector<ConstPlace> places;
    for (const ParamSpec& p : params(node.operation, node.name))
      places.push_back({model_.parameters.value(model_.parameters.find(p.name))});
    return fold<float>(std::get<Convolution>(node.operation), places);
  }

  // The stem takes pixels: (x / 255 - mean) / std_dev is in its weights.
  void take_pixels(const Convolution& op, Represented& r) const {
    r.input_mean.assign(3, 0.0);
    for (std::size_t c = 0; c < 3; ++c) r.input_mean[c] = 255 * model_.config.mean[c];
    for (std::size_t i = 0; i < r.weights.size(); ++i) {
      const std::size_t c = input_channel_of(op, i);
      r.weights[i] /= 255 * model_.config.std_dev[c];
      r.bias[channel_of(op, i)] -= r.weights[i] * 255 * model_.config.mean[c];
    }
  }

  // x = factor * represented + shift.
  void take_represented(const Convolution& op, const ResultStatistics& x, Represented& r) const {
    for (std::size_t c = 0; c < x.mean.size(); ++c)
      r.input_mean.push_back((x.mean[c] - x.shift[c]) / x.factor[c]);
    for (std::size_t i = 0; i < r.weights.size(); ++i) {
      const std::size_t c = input_channel_of(op, i);
      r.bias[channel_of(op, i)] += r.weights[i] * x.shift[c];
      r.weights[i] *= x.factor[c];
    }
  }

  Represented represented(std::size_t which) const {
    const Node& node = *convolutions_[which];
    const auto& op = std::get<Convolution>(node.operation);
    const FoldedWeights<float> of_node = folded(node);
    Represented r{{of_node.weights.begin(), of_node.weights.end()},
                  {of_node.bias.begin(), of_node.bias.end()},
                  {}};
    if (const ResultStatistics* x = statistics_of(node.inputs[0]))
      take_represented(op, *x, r);
    else
      take_pixels(op, r);
    const ResultStatistics& y = results_[which];
    const ResultStatistics* skip = op.residual ? statistics_of(node.inputs[1]) : nullptr;
    for (std::size_t k = 0; k < r.bias.size(); ++k)
      r.bias[k] = (r.bias[k] + (skip ? skip->shift[k] : 0) - y.shift[k]) / y.factor[k];
    for (std::size_t i = 0; i < r.weights.size(); ++i) r.weights[i] /= y.factor[channel_of(op, i)];
    return r;
  }

  // One step of what the convolution reads: of pixels 1.
  double input_scale(const Node& node) const {
    const Node* producer = graph_.producer(node.inputs[0]);
    const auto found = producer == nullptr ? outputs_.end() : outputs_.find(producer->name);
    return found == outputs_.end() ? 1 : double{found->second.scale};
  }

  // Of each channel. A bias counts in the same steps and must fit 32 bits beside the sums: where it
  // is so much greater than its weights, as in channels that died in training, they round to 0.
  std::vector<double> weight_scales(const Node& node, const Represented& r) const {
    constexpr double kLargestBias = 1 << 29;
    const auto& op = std::get<Convolution>(node.operation);
    std::vector<double> scale;
    for (const double bias : r.bias)
      scale.push_back(std::abs(bias) / (input_scale(node) * kLargestBias));
    for (std::size_t i = 0; i < r.weights.size(); ++i)
      scale[channel_of(op, i)] = std::max(scale[channel_of(op, i)], std::abs(r.weights[i]) / 127);
    for (double& s : scale) s = static_cast<float>(s) > 0 ? static_cast<float>(s) : 1;
    return scale;
  }

  // What rounding the weights adds to the result on average leaves the bias again (bias
  // correction).
  void write(std::size_t which, ParameterStore& store) const {
    const Node& node = *convolutions_[which];
    const auto& op = std::get<Convolution>(node.operation);
    Represented r = represented(which);
    const std::vector<double> scale = weight_scales(node, r);
    std::vector<float> integers(r.weights.size());
    for (std::size_t i = 0; i < r.weights.size(); ++i) {
      const std::size_t k = channel_of(op, i);
      const double integer = std::clamp(std::nearbyint(r.weights[i] / scale[k]), -127.0, 127.0);
      integers[i] = static_cast<float>(integer);
      r.bias[k] -= (integer * scale[k] - r.weights[i]) * r.input_mean[input_channel_of(op, i)];
    }
    const auto index = [&](const char* name) { return store.find(node.name + name); };
    const int weight = index(".weight");
    const ParamSpec& spec = store.specs()[at(weight)];
    std::vector<float> file_order(integers.size());
    for (std::size_t i = 0; i < integers.size(); ++i)
      file_order[i] = integers[at(spec.memory_position(static_cast<Index>(i)))];
    store.set(weight, std::span<const float>(file_order));
    store.set(index(".weight_scale"), std::span<const double>(scale));
    store.set(index(".bias"), std::span<const double>(r.bias));
  }

  const Model& model_;
  const Graph& graph_;
  std::vector<const Node*> convolutions_;
  const std::vector<ResultStatistics>& results_;
  Quantizations outputs_;
};

// A model's answers: probabilities, or features.
std::vector<double> answers(const Model& model, const Backend& backend, const std::uint8_t* images,
                            Index n) {
  const bool detector = model.config.head == Head::Detector;
  Predictor predictor(model, backend,
                      detector ? Predictor::Output::Logits : Predictor::Output::Pooled);
  std::vector<float> values(at(n * predictor.width()));
  predictor.run(images, n, values.data());
  std::vector<double> result(values.begin(), values.end());
  if (detector)
    for (double& v : result) v = model.probability(v);
  return result;
}

double difference(const Model& model, const std::vector<double>& is,
                  const std::vector<double>& want) {
  double sum = 0, squares = 0, all = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    sum += std::abs(is[i] - want[i]);
    squares += (is[i] - want[i]) * (is[i] - want[i]);
    all += want[i] * want[i];
  }
  return model.config.head == Head::Detector ? sum / static_cast<double>(want.size())
                                             : std::sqrt(squares / std::max(all, 1e-300));
}

}  // namespace

QuantizedModel quantize(const Model& model, const std::uint8_t* images, Index n,
                        const Backend& backend) {
  Calibration calibration(model, backend);
  if (n < kLeastQuantizePictures)
    throw DataError(std::to_string(n) + " pictures are too few to quantize by: give at least " +
                    std::to_string(kLeastQuantizePictures) +
                    ", better a few hundred like those the model will see");
  const Index bytes = model.network.image.bytes();
  std::vector<std::uint8_t> seen, held;
  for (Index i = 0; i < n; ++i) {
    std::vector<std::uint8_t>& to = i % 4 == 3 ? held : seen;
    to.insert(to.end(), images + i * bytes, images + (i + 1) * bytes);
  }
  const auto count = [&](const std::vector<std::uint8_t>& of) { return std::ssize(of) / bytes; };
  const std::vector<ResultStatistics> results = statistics(calibration, seen.data(), count(seen));
  const std::vector<double> want = answers(model, backend, held.data(), count(held));
  std::optional<QuantizedModel> best;
  std::vector<RuleResult> tried;
  for (const RangeRule rule : {RangeRule::MinMax, RangeRule::Percentile, RangeRule::Mse}) {
    Model candidate = Quantizer(model, calibration, results, rule).run();
    const double far =
        difference(model, answers(candidate, backend, held.data(), count(held)), want);
    if (!best || far < tried[static_cast<std::size_t>(best->rule)].difference)
      best = QuantizedModel{std::move(candidate), {}, rule};
    tried.push_back({rule, far});
  }
  best->results = std::move(tried);
  best->model.notes["quantized_by"] =
      std::string(name_of(best->rule)) + " of " + std::to_string(count(seen)) + " pictures";
  return *std::move(best);
}

}  // namespace dfengine
