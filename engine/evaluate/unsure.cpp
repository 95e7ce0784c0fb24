#include "engine/evaluate/unsure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace dfengine {

double unsure_margin(std::span<const double> logit, std::span<const int> label, double threshold,
                     double errors) {
  if (logit.size() != label.size() || logit.empty())
    throw ShapeError("unsure answers: logits and labels, as many of both");
  if (!(errors >= 0 && errors < 1))
    throw UsageError(fmt::format("--unsure-errors {:g} is not in [0, 1)", errors));
  struct Answer {
    double distance;
    bool wrong;
  };
  std::vector<Answer> answers;
  for (std::size_t i = 0; i < logit.size(); ++i)
    answers.push_back({std::abs(logit[i] - threshold), (logit[i] >= threshold) != (label[i] == 1)});
  std::ranges::sort(answers, {}, &Answer::distance);
  double wrong = 0;
  for (const Answer& a : answers) wrong += a.wrong ? 1 : 0;
  // From the nearest on: what is left behind each distance.
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const bool new_distance = i == 0 || answers[i].distance > answers[i - 1].distance;
    const auto left = static_cast<double>(answers.size() - i);
    if (new_distance && wrong <= errors * left) return i == 0 ? 0 : answers[i].distance;
    wrong -= answers[i].wrong ? 1 : 0;
  }
  return std::numeric_limits<double>::infinity();
}

std::optional<UnsureBand> choose_unsure_band(const Predictions& p, const Model& model,
                                             double errors) {
  const double threshold = logit_of(model.threshold, model);
  const double margin = unsure_margin(p.logit, p.label, threshold, errors);
  if (std::isinf(margin)) return std::nullopt;
  if (margin == 0) return UnsureBand{model.threshold, model.threshold};
  UnsureBand band{model.probability(threshold - margin), model.probability(threshold + margin)};
  // The picture at just this distance is sure, however its probability was rounded.
  for (std::size_t i = 0; i < p.logit.size(); ++i) {
    if (std::abs(p.logit[i] - threshold) < margin) continue;
    if (p.logit[i] < threshold)
      band.from = std::max(band.from, p.prob[i]);
    else
      band.to = std::min(band.to, p.prob[i]);
  }
  return band;
}

UnsureCount count_unsure(const Predictions& p, const UnsureBand& band, double threshold) {
  UnsureCount count{.band = band};
  for (std::size_t i = 0; i < p.prob.size(); ++i) {
    if (band.holds(p.prob[i])) {
      ++count.unsure;
      continue;
    }
    ++count.sure;
    count.wrong += (p.prob[i] >= threshold) != (p.label[i] == 1) ? 1 : 0;
  }
  return count;
}

nlohmann::json to_json(const UnsureCount& c) {
  return {{"from", c.band.from},
          {"to", c.band.to},
          {"unsure", c.unsure},
          {"sure", c.sure},
          {"wrong_of_sure", c.wrong}};
}

std::string to_text(const UnsureCount& c) {
  return fmt::format(
      "Unsure, with prob_fake between {:.4f} and {:.4f}: {} of {} pictures; of the other {} are {} "
      "wrong\n",
      c.band.from, c.band.to, c.unsure, c.unsure + c.sure, c.sure, c.wrong);
}

}  // namespace dfengine
