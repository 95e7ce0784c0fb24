#include "engine/model/model_fit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "engine/model/unfold.h"

namespace dfengine {
namespace {

using ByName = std::unordered_map<std::string_view, const weights::Tensor*>;

ByName by_name(const weights::TensorFile& file) {
  ByName names;
  for (const weights::Tensor& t : file.tensors) names.emplace(t.name, &t);
  return names;
}

const weights::Tensor* find(const ByName& tensors, std::string_view name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : found->second;
}

// Counters that PyTorch keeps beside its batch norms; the engine has no use for them.
bool is_counter(std::string_view name) {
  return name.ends_with("num_batches_tracked");
}

// Rows of a dense layer's weight; unchanged where it cannot be one, which compare() then reports.
void take_rows(const weights::Tensor* weight, Index& rows) {
  if (weight != nullptr && weight->shape.size() == 2 && weight->shape[0] > 0)
    rows = weight->shape[0];
}

// The head's kind, where the metadata does not say it, and its sizes, told by the file's tensors.
void detect_head(const ByName& tensors, bool known, MobileNetV2Config& config) {
  const weights::Tensor* detector = find(tensors, "head.fc1.weight");
  const weights::Tensor* classifier = find(tensors, "classifier.1.weight");
  if (!known) config.head = detector ? Head::Detector : classifier ? Head::Classifier : Head::None;
  take_rows(detector, config.hidden);
  take_rows(classifier, config.classes);
}

// How many base tensors of a width agree in shape with the file's.
int matching_shapes(const ByName& tensors, MobileNetV2Config config) {
  config.head = Head::None;
  int matches = 0;
  for (const ParamSpec& p : make_mobilenet_v2(config).params()) {
    const weights::Tensor* t = find(tensors, p.name);
    if (t != nullptr && t->shape == p.file_shape) ++matches;
  }
  return matches;
}

// Published widths are multiples of 0.05. Several may round to the same channels: the smallest of
// the best is taken, and 1 where all agree.
double infer_width(const ByName& tensors, const MobileNetV2Config& config) {
  MobileNetV2Config candidate = config;
  candidate.width = 1.0;
  double best = candidate.width;
  int most = matching_shapes(tensors, candidate);
  for (int i = 1; i <= 40; ++i) {
    candidate.width = i / 20.0;
    const int matches = matching_shapes(tensors, candidate);
    if (matches > most) {
      most = matches;
      best = candidate.width;
    }
  }
  return best;
}

void compare(const weights::TensorFile& file, const ByName& tensors, ModelFit& fit) {
  const std::vector<ParamSpec> specs = make_mobilenet_v2(fit.metadata.config).params();
  std::unordered_set<std::string_view> known;
  for (const ParamSpec& p : specs) {
    known.insert(p.name);
    const weights::Tensor* t = find(tensors, p.name);
    if (t == nullptr) {
      fit.missing.push_back(p.name);
    } else if (t->shape != p.file_shape) {
      fit.misshaped.push_back(fmt::format("{} [{}], expected [{}]", p.name,
                                          fmt::join(t->shape, ", "),
                                          fmt::join(p.file_shape, ", ")));
    }
  }
  for (const weights::Tensor& t : file.tensors)
    if (!known.contains(t.name) && !is_counter(t.name))
      fit.unexpected.push_back(weights::printable(t.name));
}

// What is not there yet, and what would give it.
std::string missing_parts(const Model& model) {
  std::string text;
  if (model.config.head == Head::None)
    text += "missing: a head; it gives pooled features, dfengine train puts a detector's on\n";
  if (model.config.head == Head::Classifier)
    text += "missing: a detector's head; dfengine train puts one in the classifier's place\n";
  if (is_bn_folded(model))
    text +=
        "missing: batch norms, folded into the convolutions; dfengine convert --unfold-bn "
        "estimates them\n";
  return text.empty() ? "missing: nothing\n" : text;
}

}  // namespace

std::string ModelFit::faults() const {
  constexpr std::size_t kMost = 20;
  std::string text;
  const auto list = [&](const char* what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    const std::span first(names.data(), std::min(names.size(), kMost));
    text += fmt::format("\n  {} {}: {}", names.size(), what, fmt::join(first, ", "));
    if (names.size() > kMost) text += ", ...";
  };
  list("missing", missing);
  list("unexpected", unexpected);
  list("misshaped", misshaped);
  return text;
}

ModelFit fit_model(const weights::TensorFile& file, const std::string& name_for_errors) {
  ModelFit fit{read_metadata(file.metadata, name_for_errors), {}, {}, {}};
  const ByName tensors = by_name(file);
  MobileNetV2Config& config = fit.metadata.config;
  detect_head(tensors, fit.metadata.has_head, config);
  if (!fit.metadata.has_width) config.width = infer_width(tensors, config);
  compare(file, tensors, fit);
  return fit;
}

std::string describe_model(const Model& model) {
  Index learned = 0, statistics = 0;
  for (const ParamSpec& p : model.parameters.specs())
    (is_learned(p.role) ? learned : statistics) += p.count();
  std::string text = fmt::format("parameters: {} learned, {} running statistics, {} tensors\n",
                                 learned, statistics, model.parameters.specs().size());
  for (const auto& [key, value] : write_metadata(model))
    if (key != "engine_version")  // of this program, not of the file
      text += fmt::format("{}: {}\n", key, weights::printable(value));
  return text + missing_parts(model);
}

std::string describe_misfit(const weights::TensorFile& file, const ModelFit& fit) {
  std::string text = fmt::format("{} tensors; the nearest is MobileNetV2 of width {}\n",
                                 file.tensors.size(), fit.metadata.config.width);
  for (const auto& [key, value] : file.metadata)
    text += fmt::format("{}: {}\n", weights::printable(key), weights::printable(value));
  return text + "does not fit MobileNetV2:" + fit.faults() + "\n";
}

}  // namespace dfengine
