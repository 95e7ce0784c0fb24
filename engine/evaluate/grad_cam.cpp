#include "engine/evaluate/grad_cam.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr const char* kFeatures = "features";

// The network with the last feature map kept, which the pool reads.
Graph graph_with_features(const Model& model) {
  if (model.config.head != Head::Detector)
    throw UsageError("Grad-CAM needs a detector: this model has another head, or none");
  Graph graph = model.graph();
  const ValueId pooled = graph.output("pooled");
  const int producer = graph.values()[static_cast<std::size_t>(pooled)].producer;
  graph.mark_output(graph.nodes()[static_cast<std::size_t>(producer)].inputs[0], kFeatures);
  return graph;
}

// Two neighbours of a place between cell centres, and the share of the second.
struct Between {
  Index first, second;
  float share;
};

Between between(Index i, Index out, Index in) {
  const double place = (static_cast<double>(i) + 0.5) * static_cast<double>(in) / double(out) - 0.5;
  const double kept = std::clamp(place, 0.0, static_cast<double>(in - 1));
  const auto first = static_cast<Index>(kept);
  return {first, std::min(first + 1, in - 1), static_cast<float>(kept - std::floor(kept))};
}

using Colour = std::array<double, 3>;

Colour colour_of(double share) {
  constexpr std::array<Colour, 4> kColours = {
      {{30, 50, 160}, {20, 165, 165}, {250, 215, 50}, {215, 35, 30}}};
  const double place = share * (std::size(kColours) - 1);
  const auto i = std::min<std::size_t>(static_cast<std::size_t>(place), std::size(kColours) - 2);
  const double t = place - static_cast<double>(i);
  Colour mixed;
  for (std::size_t c = 0; c < 3; ++c) mixed[c] = (1 - t) * kColours[i][c] + t * kColours[i + 1][c];
  return mixed;
}

}  // namespace

GradCam::GradCam(Model& model, ThreadPool& pool) : model_(model), pool_(pool) {
  const Index size = model.config.input_size;
  const Spec image{{1, size, size, 3}, Element::U8};
  plan_ = Plan::build(graph_with_features(model), std::span(&image, 1), {Phase::Infer, {}});
  arena_ = Memory(plan_.arena_bytes());
  executor_ = std::make_unique<Executor>(plan_, model.parameters, nullptr, arena_);
  executor_->prepare();
}

std::span<const float> GradCam::parameter(const char* name) const {
  const ParameterStore& parameters = model_.parameters;
  const int i = parameters.find(name);
  if (i < 0) throw Error(std::string("Grad-CAM: the model has no ") + name);
  const Index count = parameters.specs()[static_cast<std::size_t>(i)].count();
  return {static_cast<const float*>(parameters.value(i)), static_cast<std::size_t>(count)};
}

// The head by hand: a plan's backward begins at a loss and ends at parameters, while here it begins
// at the logit and ends at the head's input. logit = w2 ReLU(w1 pooled + b1) + b2.
std::vector<double> GradCam::pooled_gradient() const {
  const auto w1 = parameter("head.fc1.weight");  // [K, C]
  const auto b1 = parameter("head.fc1.bias");
  const auto w2 = parameter("head.fc2.weight");  // [1, K]
  const auto* pooled = static_cast<const float*>(executor_->output("pooled"));
  const std::size_t c = w1.size() / b1.size();
  std::vector<double> gradient(c, 0.0);
  for (std::size_t k = 0; k < b1.size(); ++k) {
    const float* row = w1.data() + k * c;
    double hidden = b1[k];
    for (std::size_t i = 0; i < c; ++i) hidden += double{row[i]} * double{pooled[i]};
    if (hidden <= 0) continue;
    for (std::size_t i = 0; i < c; ++i) gradient[i] += double{w2[k]} * double{row[i]};
  }
  return gradient;
}

double GradCam::run(const std::uint8_t* image) const {
  const Index size = model_.config.input_size;
  std::memcpy(executor_->input("images"), image, static_cast<std::size_t>(size * size * 3));
  executor_->forward({{pool_}, nullptr});
  return *static_cast<const float*>(executor_->output("logits"));
}

EvidenceMap GradCam::map(Evidence evidence) const {
  const ValueId value = plan_.graph().output(kFeatures);
  const Shape shape = plan_.specs()[static_cast<std::size_t>(value)].shape;
  EvidenceMap map{shape.h, shape.w, {}};
  const std::vector<double> gradient = pooled_gradient();
  // The pool spreads its gradient evenly: d logit / d A_k is the same in every cell.
  const double sign = evidence == Evidence::Fake ? 1 : -1;
  const double alpha_per_gradient = sign / static_cast<double>(shape.h * shape.w);
  const auto* features = static_cast<const float*>(executor_->output(kFeatures));
  for (Index cell = 0; cell < shape.h * shape.w; ++cell) {
    double sum = 0;
    for (std::size_t k = 0; k < gradient.size(); ++k)
      sum += gradient[k] * double{features[cell * shape.c + static_cast<Index>(k)]};
    map.values.push_back(static_cast<float>(std::max(0.0, alpha_per_gradient * sum)));
  }
  return map;
}

std::vector<float> upsample(const EvidenceMap& map, Index h, Index w) {
  std::vector<float> out;
  out.reserve(static_cast<std::size_t>(h * w));
  const auto at = [&](Index y, Index x) {
    return map.values[static_cast<std::size_t>(y * map.w + x)];
  };
  for (Index y = 0; y < h; ++y) {
    const Between rows = between(y, h, map.h);
    for (Index x = 0; x < w; ++x) {
      const Between columns = between(x, w, map.w);
      const auto mixed = [&](Index row) {
        return (1 - columns.share) * at(row, columns.first) +
               columns.share * at(row, columns.second);
      };
      out.push_back((1 - rows.share) * mixed(rows.first) + rows.share * mixed(rows.second));
    }
  }
  return out;
}

Image overlay(ImageView picture, const EvidenceMap& map) {
  const std::vector<float> heat = upsample(map, picture.h, picture.w);
  const float most = *std::ranges::max_element(map.values);
  Image out{picture.h, picture.w, std::vector<std::uint8_t>(heat.size() * 3)};
  for (std::size_t i = 0; i < heat.size(); ++i) {
    const double share = most > 0 ? std::clamp(double{heat[i]} / double{most}, 0.0, 1.0) : 0.0;
    const std::uint8_t* rgb = picture.rgb + 3 * i;
    const double gray = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
    const Colour colour = colour_of(share);
    const double weight = 0.3 + 0.25 * share;
    for (std::size_t c = 0; c < 3; ++c)
      out.rgb[3 * i + c] =
          static_cast<std::uint8_t>(std::lround((1 - weight) * gray + weight * colour[c]));
  }
  return out;
}

}  // namespace dfengine
