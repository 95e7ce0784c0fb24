// Labelled probabilities, sorted once so that every metric of a reweighted sample costs one pass.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/evaluate/metrics/calibration.h"
#include "engine/evaluate/metrics/classification.h"

namespace dfengine {

class ScoreSet {
 public:
  // prob [n] in [0, 1], label [n]. Throws as compute_metrics does.
  ScoreSet(std::span<const double> prob, std::span<const int> label);

  // The positions, in falling order of score, of the samples with this label.
  std::vector<std::uint32_t> positions(int label) const;

  // Every metric when the sample at position i counts counts[i] times; counts [n].
  Metrics metrics(double threshold, std::span<const std::uint32_t> counts) const;
  // Every metric when each sample counts once.
  Metrics metrics(double threshold) const { return metrics(threshold, once_); }
  Reliability reliability() const { return reliability(once_); }

 private:
  struct Scored {
    double prob, log_loss, squared_error;
    int label;
    std::size_t bin;
  };
  Reliability reliability(std::span<const std::uint32_t> counts) const;
  std::vector<RankStep> steps(std::span<const std::uint32_t> counts) const;

  std::vector<Scored> scored_;  // from the greatest probability to the least
  std::vector<std::uint32_t> once_;
};

}  // namespace dfengine
