#include "engine/evaluate/evaluate.h"

#include <optional>

#include "engine/evaluate/metrics/calibration.h"
#include "engine/runtime/cpu/cpu_backend.h"

namespace dfengine {

void run_views(Predictor& predictor, const std::uint8_t* images, Index n, Index views, float* out) {
  std::vector<float> logits(static_cast<std::size_t>(n * views));
  predictor.run(images, n * views, logits.data());
  for (Index i = 0; i < n; ++i) {
    double sum = 0;
    for (Index v = 0; v < views; ++v) sum += logits[at(i * views + v)];
    out[i] = static_cast<float>(sum / static_cast<double>(views));
  }
}

Predictions predict_split(Predictor& predictor, const Dataset& dataset, Loader& loader,
                          const std::function<bool(Index)>& done, Index together) {
  std::vector<std::optional<double>> logit(dataset.samples.size());
  Predictions result;
  Batch batch;
  std::vector<float> logits;
  const Index views = view_count(loader.options().views);
  Index seen = 0;
  const Index sample_bytes = views * predictor.input_size() * predictor.input_size() * 3;
  loader.start(0);
  while (loader.next(batch)) {
    // Blank pictures stand for those left out: no plan is made for a batch of that size.
    const Index n = batch.n + std::ssize(batch.left_out), computed = std::max(n, together);
    if (batch.n < computed) batch.images.resize(static_cast<std::size_t>(computed * sample_bytes));
    logits.resize(static_cast<std::size_t>(computed));
    run_views(predictor, batch.images.data(), computed, views, logits.data());
    for (std::size_t i = 0; i < batch.indices.size(); ++i) logit[batch.indices[i]] = logits[i];
    for (LeftOut& left_out : batch.left_out) result.left_out.push_back(std::move(left_out));
    seen += n;
    if (done && !done(seen)) break;
  }
  for (std::uint32_t i = 0; i < logit.size(); ++i) {
    if (!logit[i]) continue;
    result.logit.push_back(*logit[i]);
    result.prob.push_back(predictor.model().probability(*logit[i]));
    result.label.push_back(dataset.samples[i].label);
    result.index.push_back(i);
  }
  return result;
}

Predictions predict_split(const Model& model, const Dataset& dataset, Index max_pixels,
                          OnBad on_bad, ThreadPool& pool) {
  const CpuBackend backend(pool);
  Predictor predictor(model, backend, Predictor::Output::Logits);
  Loader loader(dataset, one_pass(model.preparation(max_pixels), pool.size(), on_bad));
  return predict_split(predictor, dataset, loader);
}

void calibrate(Model& model, const Predictions& predictions, const ThresholdRule& rule) {
  model.temperature = fit_temperature(predictions.logit, predictions.label);
  std::vector<double> prob;
  for (const double logit : predictions.logit) prob.push_back(model.probability(logit));
  model.threshold = choose_threshold(prob, predictions.label, rule);
  model.unsure.reset();
}

}  // namespace dfengine
