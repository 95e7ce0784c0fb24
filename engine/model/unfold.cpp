// Runs pictures one by one through the network with every convolution's output kept, and merges
// their statistics (Chan, Golub and LeVeque 1983: no cancellation).
#include "engine/model/unfold.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "kernels/base/error.h"

namespace dfengine {

BatchNormUnfolder::BatchNormUnfolder(Model& model, const Backend& backend)
    : model_(model),
      backend_(backend),
      parameters_(model.network.graph, model.parameters, backend),
      session_(with_norm_inputs(model, statistics_), {model.network.image}, {}, parameters_) {
  if (backend.element() != Element::F32) throw UsageError("batch norms are unfolded in float");
  session_.reserve(1);
  const Plan& plan = session_.bound(1).plan;
  for (Statistics& of : statistics_) {
    const Shape& shape = plan.spec(plan.graph().output(of.output)).shape;
    of.channels = shape.c;
    of.rows = shape.rows();
    of.mean.assign(at(shape.c), 0.0);
    of.squares = of.mean;
  }
}

// A marked output is kept, and its batch norm stays apart from the convolution.
Graph BatchNormUnfolder::with_norm_inputs(const Model& model, std::vector<Statistics>& of) {
  if (!is_bn_folded(model))
    throw UsageError("the model's batch norms are not folded: there is nothing to unfold");
  Graph graph = model.network.graph;
  for (const Node& node : model.network.graph.nodes()) {
    const auto* norm = std::get_if<BatchNorm>(&node.operation);
    if (norm == nullptr) continue;
    of.push_back({{node.name, norm->eps}, "into " + node.name, 0, 0, {}, {}});
    graph.mark_output(node.inputs[0], of.back().output);
  }
  return graph;
}

void BatchNormUnfolder::add(const std::uint8_t* images, Index n) {
  const Index bytes = model_.network.image.bytes();
  const Binding& binding = *session_.bound(1).binding;
  std::vector<float> values;
  for (Index i = 0; i < n; ++i) {
    backend_.upload(binding.input("images").address, images + i * bytes, bytes);
    binding.forward({backend_.queue()});
    for (Statistics& of : statistics_) {
      values.resize(at(of.rows * of.channels));
      backend_.download(values.data(), binding.output(of.output).address,
                        std::ssize(values) * kFloatBytes);
      backend_.synchronize();
      add_slice(of, values.data());
    }
    ++pictures_;
  }
}

void BatchNormUnfolder::add_slice(Statistics& of, const float* x) const {
  const auto channels = at(of.channels);
  const auto rows = static_cast<double>(of.rows);
  std::vector<double> mean(channels, 0.0), squares(channels, 0.0);
  for (Index r = 0; r < of.rows; ++r)
    for (std::size_t c = 0; c < channels; ++c) mean[c] += x[r * of.channels + Index(c)];
  for (double& m : mean) m /= rows;
  for (Index r = 0; r < of.rows; ++r) {
    for (std::size_t c = 0; c < channels; ++c) {
      const double d = x[r * of.channels + Index(c)] - mean[c];
      squares[c] += d * d;
    }
  }
  const auto before = static_cast<double>(pictures_) * rows;
  for (std::size_t c = 0; c < channels; ++c) {
    const double delta = mean[c] - of.mean[c];
    of.mean[c] += delta * rows / (before + rows);
    of.squares[c] += squares[c] + delta * delta * before * rows / (before + rows);
  }
}

void BatchNormUnfolder::finish() {
  if (pictures_ < kLeastUnfoldPictures) {
    throw DataError(
        fmt::format("{} pictures are too few to estimate batch norm statistics: give at least {}, "
                    "better several hundred like those the model will see",
                    pictures_, kLeastUnfoldPictures));
  }
  for (const Statistics& of : statistics_) set(of, static_cast<double>(pictures_ * of.rows));
  model_.notes.erase(kBnFolded);
  model_.notes["bn_unfolded"] = fmt::format("statistics of {} pictures", pictures_);
}

void BatchNormUnfolder::set(const Statistics& of, double count) {
  std::array<int, 4> positions{};
  std::array<std::vector<float>, 4> values;
  const std::vector<ParamSpec> of_norm = norm_params(of.norm, of.channels);
  for (std::size_t i = 0; i < positions.size(); ++i) {
    positions[i] = model_.parameters.find(of_norm[i].name);
    values[i] = model_.parameters.get(positions[i]);
  }
  for (std::size_t c = 0; c < of.mean.size(); ++c) {
    const double mean = of.mean[c], variance = of.squares[c] / (count - 1);
    if (!std::isfinite(mean) || !std::isfinite(variance)) {
      throw ModelFileError(
          fmt::format("{}: channel {} is not a number on these pictures", of.output, c));
    }
    const double slope = values[kNormScale][c] / std::sqrt(values[kNormVariance][c] + of.norm.eps);
    const double shift = values[kNormShift][c] - slope * values[kNormMean][c];
    values[kNormScale][c] = static_cast<float>(slope * std::sqrt(variance + of.norm.eps));
    values[kNormShift][c] = static_cast<float>(shift + slope * mean);
    values[kNormMean][c] = static_cast<float>(mean);
    values[kNormVariance][c] = static_cast<float>(variance);
  }
  for (std::size_t i = 0; i < positions.size(); ++i)
    model_.parameters.set(positions[i], std::span<const float>(values[i]));
}

}  // namespace dfengine
