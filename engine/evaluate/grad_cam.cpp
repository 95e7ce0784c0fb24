#include "engine/evaluate/grad_cam.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/half.h"

namespace dfengine {
namespace {

// The outputs of the last feature map, one for each member of an ensemble.
std::vector<std::string> feature_names(const Model& model) {
  std::vector<std::string> names;
  for (Index i = 0; i < model.config.members; ++i) names.push_back("features." + std::to_string(i));
  return names;
}

// The network with the last feature maps kept, which the pools read.
Graph graph_with_features(const Model& model) {
  if (model.config.head != Head::Detector)
    throw UsageError("Grad-CAM needs a detector: this model has another head, or none");
  require_float(model, "is explained");
  Graph graph = model.network.graph;
  std::vector<ValueId> maps;
  for (const Node& node : graph.nodes())
    if (std::holds_alternative<GlobalAveragePool>(node.operation)) maps.push_back(node.inputs[0]);
  const std::vector<std::string> names = feature_names(model);
  for (std::size_t i = 0; i < names.size(); ++i) graph.mark_output(maps.at(i), names[i]);
  return graph;
}

// A value of the backend on the host.
std::vector<float> downloaded(const Backend& backend, Place from, Index count) {
  std::vector<float> values(at(count));
  if (backend.element() == Element::F32) {
    backend.download(values.data(), from.address, count * kFloatBytes);
    backend.synchronize();
    return values;
  }
  std::vector<std::uint16_t> halves(values.size());
  backend.download(halves.data(), from.address, count * Index{sizeof(std::uint16_t)});
  backend.synchronize();
  std::ranges::transform(halves, values.begin(), bf16_to_float);
  return values;
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

GradCam::GradCam(const Model& model, const Backend& backend)
    : model_(model),
      backend_(backend),
      parameters_(model.network.graph, model.parameters, backend),
      session_(graph_with_features(model), {model.network.image},
               {.gradients_of = feature_names(model), .seed = "logits"}, parameters_) {
  if (const Element e = backend.element(); e != Element::F32 && e != Element::BF16)
    throw UsageError("Grad-CAM computes in float or bf16");
  session_.reserve(1);
}

GradCamRun GradCam::run(const std::uint8_t* image) {
  const Session::Bound& bound = session_.bound(1);
  const Binding& binding = *bound.binding;
  const auto upload = [&](Place to, const void* from, Index bytes) {
    backend_.upload(to.address, from, bytes);
  };
  constexpr float kOne = 1;  // d logit / d logit
  upload(binding.input("images"), image, model_.network.image.bytes());
  upload(binding.gradient("logits"), &kOne, kFloatBytes);
  binding.forward({backend_.queue()});
  binding.backward({backend_.queue()});
  GradCamRun run;
  const std::vector<std::string> names = feature_names(model_);
  const Shape map = bound.plan.spec(bound.plan.graph().output(names[0])).shape;
  const Index members = std::ssize(names);
  run.map = map;
  run.map.c *= members;
  run.features.resize(at(run.map.count()));
  run.gradients.resize(run.features.size());
  float logit = 0;
  backend_.download(&logit, binding.output("logits").address, kFloatBytes);
  for (Index m = 0; m < members; ++m) {
    const auto features = downloaded(backend_, binding.output(names[at(m)]), map.count());
    const auto gradients = downloaded(backend_, binding.gradient(names[at(m)]), map.count());
    // Side by side: a cell's channels are those of all members.
    for (Index cell = 0; cell < map.h * map.w; ++cell) {
      const Index to = cell * run.map.c + m * map.c;
      std::copy_n(features.data() + cell * map.c, map.c, run.features.data() + to);
      std::copy_n(gradients.data() + cell * map.c, map.c, run.gradients.data() + to);
    }
  }
  backend_.synchronize();
  run.logit = logit;
  return run;
}

EvidenceMap GradCamRun::evidence(Evidence evidence) const {
  const Index cells = map.h * map.w;
  EvidenceMap result{map.h, map.w, {}};
  std::vector<double> alpha(at(map.c), 0.0);
  const double sign = evidence == Evidence::Fake ? 1 : -1;
  for (Index i = 0; i < map.count(); ++i)
    alpha[at(i % map.c)] += sign * double{gradients[at(i)]} / static_cast<double>(cells);
  for (Index cell = 0; cell < cells; ++cell) {
    double sum = 0;
    for (Index k = 0; k < map.c; ++k) sum += alpha[at(k)] * double{features[at(cell * map.c + k)]};
    result.values.push_back(static_cast<float>(std::max(0.0, sum)));
  }
  return result;
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
