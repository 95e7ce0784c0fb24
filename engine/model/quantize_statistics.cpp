#include "engine/model/quantize_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr std::size_t kBins = 2048;
// A channel that is always the same needs no scale.
constexpr double kLeastRange = 1e-6;

const Convolution& convolution(const Node& node) {
  return std::get<Convolution>(node.operation);
}

std::vector<ResultStatistics> ranges(Calibration& calibration, const std::uint8_t* images,
                                     Index n) {
  const std::vector<const Node*> convolutions = calibration.convolutions();
  std::vector<ResultStatistics> all(convolutions.size());
  std::vector<double> rows(convolutions.size(), 0.0);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t channels = at(convolution(*convolutions[i]).out);
    all[i].low.assign(channels, 0.0);
    all[i].high = all[i].mean = all[i].shift = all[i].low;
    all[i].factor.assign(channels, 1.0);
  }
  calibration.run(images, n, [&](std::size_t i, std::span<const float> values) {
    ResultStatistics& of = all[i];
    const std::size_t channels = of.low.size();
    for (std::size_t j = 0; j < values.size(); ++j) {
      const double v = values[j];
      const std::size_t c = j % channels;
      if (!std::isfinite(v))
        throw ModelFileError("layer " + convolutions[i]->name + ": gives no number on a picture");
      of.low[c] = std::min(of.low[c], v);
      of.high[c] = std::max(of.high[c], v);
      of.mean[c] += v;
    }
    rows[i] += static_cast<double>(values.size() / channels);
  });
  for (std::size_t i = 0; i < all.size(); ++i)
    for (double& mean : all[i].mean) mean /= rows[i];
  return all;
}

// Which convolutions read a value, and whether something else does.
struct Readers {
  bool pointwise = true, depthwise = true;  // all readers are; a residual input counts as neither
  bool any = false;
};
Readers readers(const Graph& graph, ValueId value) {
  Readers result;
  for (const Node& node : graph.nodes()) {
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] != value) continue;
      const auto* conv = std::get_if<Convolution>(&node.operation);
      const bool residual = conv != nullptr && conv->residual && i == 1;
      if (residual) {
        result.depthwise = false;
        continue;
      }
      result.any = true;
      result.pointwise &= conv != nullptr && conv->window.size == 1;
      result.depthwise &= conv != nullptr && conv->groups > 1;
    }
  }
  return result;
}

// Results that are added to each other: those of one number.
std::vector<std::size_t> chains(const Graph& graph, const std::vector<const Node*>& convolutions) {
  std::vector<std::size_t> chain(convolutions.size());
  std::iota(chain.begin(), chain.end(), 0U);
  const auto position = [&](ValueId v) {
    return std::ranges::find(convolutions, graph.producer(v)) - convolutions.begin();
  };
  for (std::size_t i = 0; i < convolutions.size(); ++i) {
    if (!convolution(*convolutions[i]).residual) continue;
    const auto skip = position(convolutions[i]->inputs[1]);
    if (skip < std::ssize(convolutions)) chain[i] = chain[at(skip)];
  }
  return chain;
}

void equalise(const Calibration& calibration, std::vector<ResultStatistics>& all) {
  const std::vector<const Node*> convolutions = calibration.convolutions();
  const std::vector<std::size_t> chain = chains(calibration.graph(), convolutions);
  std::vector<char> linear(all.size(), true);  // by chain
  std::vector<std::vector<double>> range(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Readers of = readers(calibration.graph(), convolutions[i]->output);
    const bool none = convolution(*convolutions[i]).activation == Activation::None;
    if (!none || !of.pointwise || !of.any) linear[chain[i]] = false;
    std::vector<double>& most = range[chain[i]];
    most.resize(all[i].low.size(), 0.0);
    for (std::size_t c = 0; c < most.size(); ++c)
      most[c] = std::max(most[c], all[i].high[c] - all[i].low[c]);
    if (none || !of.depthwise || !of.any) continue;
    for (std::size_t c = 0; c < most.size(); ++c)
      if (all[i].high[c] > kLeastRange) all[i].factor[c] = all[i].high[c];
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!linear[chain[i]]) continue;
    for (std::size_t c = 0; c < all[i].low.size(); ++c) {
      if (range[chain[i]][c] > kLeastRange) all[i].factor[c] = range[chain[i]][c];
      all[i].shift[c] = (all[i].low[c] + all[i].high[c]) / 2;
    }
  }
}

void count(Calibration& calibration, const std::uint8_t* images, Index n,
           std::vector<ResultStatistics>& all) {
  for (ResultStatistics& of : all) {
    for (std::size_t c = 0; c < of.low.size(); ++c) {
      of.bottom = std::min(of.bottom, (of.low[c] - of.shift[c]) / of.factor[c]);
      of.top = std::max(of.top, (of.high[c] - of.shift[c]) / of.factor[c]);
    }
    of.top = std::max(of.top, of.bottom + kLeastRange);
    of.histogram.assign(kBins, 0.0);
  }
  calibration.run(images, n, [&](std::size_t i, std::span<const float> values) {
    ResultStatistics& of = all[i];
    const std::size_t channels = of.low.size();
    const double bins = kBins / (of.top - of.bottom);
    for (std::size_t j = 0; j < values.size(); ++j) {
      const std::size_t c = j % channels;
      const double v = ((values[j] - of.shift[c]) / of.factor[c] - of.bottom) * bins;
      ++of.histogram[std::min(kBins - 1, static_cast<std::size_t>(std::max(v, 0.0)))];
    }
  });
}

double middle(const ResultStatistics& of, std::size_t bin) {
  return of.bottom + (static_cast<double>(bin) + .5) * (of.top - of.bottom) / kBins;
}

Quantization between(double low, double high) {
  const double scale = std::max((high - low) / 255, 1e-12);
  return {static_cast<float>(scale),
          static_cast<std::int32_t>(std::clamp(std::lrint(-low / scale), 0L, 255L))};
}

double squared_error(const ResultStatistics& of, const Quantization& q) {
  double sum = 0;
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    const double v = middle(of, bin);
    const double byte = std::clamp(std::nearbyint(v / q.scale) + q.zero, 0.0, 255.0);
    const double error = (byte - q.zero) * q.scale - v;
    sum += of.histogram[bin] * error * error;
  }
  return sum;
}

// All but `share` of the values at either end; an end that is 0 stays.
Quantization percentile(const ResultStatistics& of, double share) {
  const double beyond = share * std::accumulate(of.histogram.begin(), of.histogram.end(), 0.0);
  std::size_t first = 0, last = kBins - 1;
  for (double sum = of.histogram[first]; sum <= beyond && first < last; sum += of.histogram[first])
    ++first;
  for (double sum = of.histogram[last]; sum <= beyond && last > first; sum += of.histogram[last])
    --last;
  const double width = (of.top - of.bottom) / kBins;
  return between(std::min(of.bottom + static_cast<double>(first) * width, 0.0),
                 std::max(of.bottom + static_cast<double>(last + 1) * width, 0.0));
}

Quantization least_error(const ResultStatistics& of) {
  Quantization best = between(of.bottom, of.top);
  double least = squared_error(of, best);
  for (int percent = 98; percent >= 30; percent -= 2) {
    const Quantization q = between(of.bottom * percent / 100, of.top * percent / 100);
    const double error = squared_error(of, q);
    if (error >= least) continue;
    least = error;
    best = q;
  }
  return best;
}

}  // namespace

std::vector<ResultStatistics> statistics(Calibration& calibration, const std::uint8_t* images,
                                         Index n) {
  std::vector<ResultStatistics> all = ranges(calibration, images, n);
  equalise(calibration, all);
  count(calibration, images, n, all);
  return all;
}

Quantization quantization_of(const ResultStatistics& of, RangeRule rule) {
  constexpr double kBeyond = 1e-4;
  switch (rule) {
    case RangeRule::MinMax:
      return between(of.bottom, of.top);
    case RangeRule::Percentile:
      return percentile(of, kBeyond);
    case RangeRule::Mse:
      break;
  }
  return least_error(of);
}

}  // namespace dfengine
