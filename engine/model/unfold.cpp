// Runs pictures one by one through the network with every convolution's output kept, and merges
// their statistics (Chan, Golub and LeVeque 1983: no cancellation).
#include "engine/model/unfold.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "kernels/base/error.h"

namespace dfengine {

BatchNormUnfolder::BatchNormUnfolder(Model& model, ThreadPool& pool) : model_(model), pool_(pool) {
  if (!is_bn_folded(model))
    throw UsageError("the model's batch norms are not folded: there is nothing to unfold");
  // A marked output is kept, and its batch norm stays apart from the convolution.
  Graph graph = model.graph();
  for (const Node& node : std::vector<Node>(graph.nodes())) {
    const FoldedNorm* layer = node.layer->norm();
    if (layer == nullptr) continue;
    norms_.push_back({*layer, "into " + node.layer->name(), 0, 0, {}, {}});
    graph.mark_output(node.inputs[0], norms_.back().output);
  }
  const Index size = model.config.input_size;
  const Spec image{{1, size, size, 3}, Element::U8};
  plan_ = Plan::build(graph, std::span(&image, 1), {Phase::Infer, {}});
  arena_ = Memory(plan_.arena_bytes());
  executor_ = std::make_unique<Executor>(plan_, model.parameters, nullptr, arena_);
  executor_->prepare();
  for (Norm& norm : norms_) {
    const ValueId value = plan_.graph().output(norm.output);
    const Shape& shape = plan_.specs()[static_cast<std::size_t>(value)].shape;
    norm.channels = shape.c;
    norm.rows = shape.rows();
    norm.mean.assign(static_cast<std::size_t>(shape.c), 0.0);
    norm.squares = norm.mean;
  }
}

void BatchNormUnfolder::add(const std::uint8_t* images, Index n) {
  const Index bytes = model_.config.input_size * model_.config.input_size * 3;
  for (Index i = 0; i < n; ++i) {
    std::memcpy(executor_->input("images"), images + i * bytes, static_cast<std::size_t>(bytes));
    executor_->forward({{pool_}, nullptr});
    for (Norm& norm : norms_)
      add_slice(norm, static_cast<const float*>(executor_->output(norm.output)));
    ++pictures_;
  }
}

void BatchNormUnfolder::add_slice(Norm& norm, const float* x) const {
  const auto channels = static_cast<std::size_t>(norm.channels);
  const auto rows = static_cast<double>(norm.rows);
  std::vector<double> mean(channels, 0.0), squares(channels, 0.0);
  for (Index r = 0; r < norm.rows; ++r)
    for (std::size_t c = 0; c < channels; ++c) mean[c] += x[r * norm.channels + Index(c)];
  for (double& m : mean) m /= rows;
  for (Index r = 0; r < norm.rows; ++r) {
    for (std::size_t c = 0; c < channels; ++c) {
      const double d = x[r * norm.channels + Index(c)] - mean[c];
      squares[c] += d * d;
    }
  }
  const auto before = static_cast<double>(pictures_) * rows;
  for (std::size_t c = 0; c < channels; ++c) {
    const double delta = mean[c] - norm.mean[c];
    norm.mean[c] += delta * rows / (before + rows);
    norm.squares[c] += squares[c] + delta * delta * before * rows / (before + rows);
  }
}

void BatchNormUnfolder::finish() {
  if (pictures_ < kLeastUnfoldPictures) {
    throw DataError(
        fmt::format("{} pictures are too few to estimate batch norm statistics: give at least {}, "
                    "better several hundred like those the model will see",
                    pictures_, kLeastUnfoldPictures));
  }
  for (const Norm& norm : norms_) set(norm, static_cast<double>(pictures_ * norm.rows));
  model_.notes.erase(kBnFolded);
  model_.notes["bn_unfolded"] = fmt::format("statistics of {} pictures", pictures_);
}

void BatchNormUnfolder::set(const Norm& norm, double count) {
  enum { kGamma, kBeta, kMean, kVariance };
  std::array<int, 4> at{};
  std::array<std::vector<float>, 4> values;
  for (std::size_t i = 0; i < at.size(); ++i) {
    at[i] = model_.parameters.find(norm.layer.params[i].name);
    values[i] = model_.parameters.get(at[i]);
  }
  for (std::size_t c = 0; c < norm.mean.size(); ++c) {
    const double mean = norm.mean[c], variance = norm.squares[c] / (count - 1);
    if (!std::isfinite(mean) || !std::isfinite(variance)) {
      throw ModelFileError(
          fmt::format("{}: channel {} is not a number on these pictures", norm.output, c));
    }
    const double slope = values[kGamma][c] / std::sqrt(values[kVariance][c] + norm.layer.eps);
    const double shift = values[kBeta][c] - slope * values[kMean][c];
    values[kGamma][c] = static_cast<float>(slope * std::sqrt(variance + norm.layer.eps));
    values[kBeta][c] = static_cast<float>(shift + slope * mean);
    values[kMean][c] = static_cast<float>(mean);
    values[kVariance][c] = static_cast<float>(variance);
  }
  for (std::size_t i = 0; i < at.size(); ++i)
    model_.parameters.set(at[i], std::span<const float>(values[i]));
}

}  // namespace dfengine
