#include "engine/evaluate.h"

#include <optional>

namespace dfengine {

Predictions predict_split(Predictor& predictor, const Dataset& dataset, Loader& loader,
                          const std::function<bool(Index)>& done) {
  std::vector<std::optional<double>> prob(dataset.samples.size());
  Predictions result;
  Batch batch;
  std::vector<float> logits;
  Index seen = 0;
  const Index bytes = predictor.input_size() * predictor.input_size() * 3;
  loader.start(0);
  while (loader.next(batch)) {
    // Blank pictures stand for those left out: no plan is made for a batch of that size.
    const Index n = batch.n + std::ssize(batch.left_out);
    if (batch.n < n) batch.images.resize(static_cast<std::size_t>(n * bytes));
    logits.resize(static_cast<std::size_t>(n));
    predictor.run(batch.images.data(), n, logits.data());
    for (std::size_t i = 0; i < batch.indices.size(); ++i)
      prob[batch.indices[i]] = sigmoid(logits[i]);
    for (LeftOut& left_out : batch.left_out) result.left_out.push_back(std::move(left_out));
    seen += n;
    if (done && !done(seen)) break;
  }
  for (std::uint32_t i = 0; i < prob.size(); ++i) {
    if (!prob[i]) continue;
    result.prob.push_back(*prob[i]);
    result.label.push_back(dataset.samples[i].label);
    result.index.push_back(i);
  }
  return result;
}

}  // namespace dfengine
