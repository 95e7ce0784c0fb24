#include "engine/evaluate/robustness.h"

#include <nlohmann/json.hpp>

namespace dfengine {
namespace {

using Scratch = PerturbScratch;

void jpeg(Pixels image, double quality, std::uint64_t, std::uint64_t, Scratch& scratch) {
  jpeg_recompress(image, static_cast<int>(quality), scratch);
}

void blur(Pixels image, double sigma, std::uint64_t, std::uint64_t, Scratch& scratch) {
  gaussian_blur(image, sigma, scratch);
}

void scale(Pixels image, double factor, std::uint64_t, std::uint64_t, Scratch& scratch) {
  rescale(image, factor, scratch);
}

void noise(Pixels image, double sigma, std::uint64_t seed, std::uint64_t key, Scratch&) {
  add_noise(image, sigma, seed, key);
}

void light(Pixels image, double factor, std::uint64_t, std::uint64_t, Scratch&) {
  brightness(image, factor);
}

constexpr Perturbation kPerturbations[] = {
    {"jpeg", "JPEG quality", 90, jpeg},
    {"jpeg", "JPEG quality", 70, jpeg},
    {"jpeg", "JPEG quality", 50, jpeg},
    {"jpeg", "JPEG quality", 30, jpeg},
    {"blur", "blur, pixels", 1, blur},
    {"blur", "blur, pixels", 2, blur},
    {"blur", "blur, pixels", 3, blur},
    {"rescale", "scaled down to", 0.75, scale},
    {"rescale", "scaled down to", 0.5, scale},
    {"rescale", "scaled down to", 0.25, scale},
    {"noise", "noise, levels", 5, noise},
    {"noise", "noise, levels", 10, noise},
    {"noise", "noise, levels", 20, noise},
    {"brightness", "brightness times", 0.5, light},
    {"brightness", "brightness times", 0.75, light},
    {"brightness", "brightness times", 1.25, light},
    {"brightness", "brightness times", 1.5, light},
};

}  // namespace

bool is_told(const MetricField& field) {
  return field.value == &Metrics::accuracy || field.value == &Metrics::balanced_accuracy ||
         field.value == &Metrics::roc_auc;
}

std::span<const Perturbation> perturbations() {
  return kPerturbations;
}

std::vector<RobustnessRow> measure_robustness(Predictor& predictor, const Dataset& dataset,
                                              const LoaderOptions& options, double threshold,
                                              std::uint64_t seed,
                                              const std::function<void(Index, Index)>& done) {
  std::vector<const Perturbation*> changes = {nullptr};
  for (const Perturbation& p : perturbations()) changes.push_back(&p);
  std::vector<RobustnessRow> rows;
  for (const Perturbation* what : changes) {
    LoaderOptions changed = options;
    if (what != nullptr)
      changed.change = [what, seed](Image& image, std::uint32_t index) {
        Scratch scratch;
        what->apply({image.rgb.data(), image.h, image.w}, what->strength, seed, index, scratch);
      };
    Loader loader(dataset, changed);
    const Index row = std::ssize(rows);
    const Predictions p = predict_split(predictor, dataset, loader, [&](Index pictures) {
      if (done) done(row, pictures);
      return true;
    });
    rows.push_back({what, summarize(p.scores(), p.label, threshold, seed)});
  }
  return rows;
}

nlohmann::json to_json(const std::vector<RobustnessRow>& rows) {
  nlohmann::json list = nlohmann::json::array();
  for (const RobustnessRow& row : rows) {
    nlohmann::json j = {{"kind", row.what ? row.what->kind : "none"},
                        {"strength", row.what ? nlohmann::json(row.what->strength) : nullptr}};
    const auto fields = metric_fields();
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (!is_told(fields[i])) continue;
      const Interval& interval = row.summary.intervals[i];
      j[fields[i].key] = row.summary.metrics.*fields[i].value;
      j["intervals"][fields[i].key] = {interval.low, interval.high};
    }
    list.push_back(std::move(j));
  }
  return list;
}

}  // namespace dfengine
