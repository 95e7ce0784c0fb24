#include "engine/evaluate.h"

namespace dfengine {

void run_views(Predictor& predictor, const std::uint8_t* images, Index n, Index views, float* out) {
  std::vector<float> logits(static_cast<std::size_t>(n * views));
  predictor.run(images, n * views, logits.data());
  for (Index i = 0; i < n; ++i) {
    double sum = 0;
    for (Index v = 0; v < views; ++v) sum += logits[static_cast<std::size_t>(i * views + v)];
    out[i] = static_cast<float>(sum / static_cast<double>(views));
  }
}

Predictions predict_split(Predictor& predictor, const Dataset& dataset, Loader& loader,
                          const std::function<void(Index)>& done) {
  Predictions result;
  result.logit.resize(dataset.samples.size());
  result.prob.resize(dataset.samples.size());
  for (const Sample& s : dataset.samples) result.label.push_back(s.label);
  Batch batch;
  std::vector<float> logits;
  const Index views = view_count(loader.options().views);
  Index seen = 0;
  loader.start(0);
  while (loader.next(batch)) {
    logits.resize(static_cast<std::size_t>(batch.n));
    run_views(predictor, batch.images.data(), batch.n, views, logits.data());
    for (std::size_t i = 0; i < logits.size(); ++i) {
      result.logit[batch.indices[i]] = logits[i];
      result.prob[batch.indices[i]] = predictor.model().probability(logits[i]);
    }
    seen += batch.n;
    if (done) done(seen);
  }
  return result;
}

void calibrate(Model& model, const Predictions& predictions, const ThresholdRule& rule) {
  model.temperature = fit_temperature(predictions.logit, predictions.label);
  std::vector<double> prob;
  for (const double logit : predictions.logit) prob.push_back(model.probability(logit));
  model.threshold = choose_threshold(prob, predictions.label, rule);
}

}  // namespace dfengine
