#include "engine/model/combine.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/model/training_pictures.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

std::string note(const Model& model, const char* key) {
  const auto found = model.notes.find(key);
  return found == model.notes.end() ? "" : found->second;
}

// What both kinds of union need: the same entries but for those that follow from training.
void require_alike(std::span<const Model> models) {
  if (models.size() < 2) throw UsageError("name two models at least");
  const auto identity = [](const Model& model) {
    ModelMetadata same = model;
    same.notes.clear();
    same.temperature = 1;
    same.threshold = 0.5;
    same.unsure.reset();
    same.config.dropout = 0;
    return write_metadata(same);
  };
  const auto first = identity(models[0]);
  for (const Model& model : models) {
    require_float(model, "is joined with others");
    if (model.config.members > 1) throw UsageError("an ensemble cannot be a member of another");
    if (model.config.head != Head::Detector) throw UsageError("all models must be detectors");
    for (const auto& [key, value] : identity(model)) {
      const auto other = first.find(key);
      if (other == first.end() || other->second != value)
        throw UsageError(fmt::format("the models differ in {}: '{}' and '{}'", key,
                                     other == first.end() ? "" : other->second, value));
    }
    if (identity(model).size() != first.size())
      throw UsageError("the models differ in what their files say");
  }
}

// What decides the values that a run begins with.
std::string beginning(const Model& model) {
  const nlohmann::json args = nlohmann::json::parse(note(model, kRunArguments), nullptr, false);
  const bool has_seed = args.is_object() && args.contains("seed") && args["seed"].is_number();
  const std::string seed = has_seed ? args["seed"].dump() : "";
  const bool whole = note(model, kStartedWithHead) == "yes";
  return note(model, "source_sha256") + (whole ? "" : " seed " + seed);
}

}  // namespace

Model average_models(std::span<const Model> models) {
  require_alike(models);
  for (const Model& model : models)
    if (beginning(model) != beginning(models[0]))
      throw UsageError(
          "the runs began with other values, so that a mean of their weights means nothing: give "
          "all of them the same --weights and --seed, or begin all from one run's model; or join "
          "them with --ensemble");
  Model mean = make_model(models[0].config, 0);
  static_cast<ModelMetadata&>(mean) = models[0];
  note_earlier_runs(mean, models);
  for (int i = 0; i < std::ssize(mean.parameters.specs()); ++i) {
    std::vector<double> sum(at(mean.parameters.specs()[at(i)].count()), 0.0);
    for (const Model& model : models) {
      const std::vector<float> values = model.parameters.get(i);
      for (std::size_t k = 0; k < sum.size(); ++k) sum[k] += double{values[k]};
    }
    for (double& v : sum) v /= static_cast<double>(models.size());
    mean.parameters.set(i, std::span<const double>(sum));
  }
  return mean;
}

Model ensemble_of(std::span<const Model> models) {
  require_alike(models);
  NetworkConfig config = models[0].config;
  config.members = std::ssize(models);
  Model all = make_model(config, 0);
  static_cast<ModelMetadata&>(all) = models[0];
  all.config = config;
  all.notes.clear();
  note_earlier_runs(all, models);
  const double share = 1 / static_cast<double>(models.size());
  for (std::size_t m = 0; m < models.size(); ++m)
    for (int i = 0; i < std::ssize(models[m].parameters.specs()); ++i) {
      const std::string& name = models[m].parameters.specs()[at(i)].name;
      std::vector<float> values = models[m].parameters.get(i);
      // The members' logits are added up: the last layer makes their mean of it.
      if (name.starts_with("head.fc2."))
        for (float& v : values) v = static_cast<float>(share * double{v});
      all.parameters.set(all.parameters.find(fmt::format("{}.{}", m, name)),
                         std::span<const float>(values));
    }
  return all;
}

}  // namespace dfengine
