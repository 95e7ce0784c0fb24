// Figures of each part of a set: each generator, source or camera.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "engine/evaluate/metrics/classification.h"

namespace dfengine {

struct GroupRow {
  std::string group;
  Index real = 0, fake = 0;  // pictures
  double accuracy = 0;       // of the group's own pictures, at the threshold
  // Of the group's pictures; of one class alone, against all pictures of the other class. NaN where
  // the set has one class.
  double roc_auc = 0, tpr_at_fpr_1 = 0, tpr_at_fpr_05 = 0;
  bool beside = false;  // shown to compare with: no part of mean and worst
};

// A row for each group, sorted by name; group [n]. Throws as compute_metrics does, ShapeError where
// the sizes differ.
std::vector<GroupRow> measure_groups(const Scores& scores, std::span<const int> label,
                                     std::span<const std::string> group, double threshold);

// The plain mean and the worst of each figure over the rows that are no `beside` and where it
// exists.
GroupRow mean_of(std::span<const GroupRow> rows);
GroupRow worst_of(std::span<const GroupRow> rows);

nlohmann::json to_json(std::span<const GroupRow> rows);
// A table for people, with mean and worst below.
std::string to_text(std::span<const GroupRow> rows);

}  // namespace dfengine
