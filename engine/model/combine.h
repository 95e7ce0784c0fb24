// Several detectors as one.
#pragma once

#include "engine/model/model.h"

namespace dfengine {

// Note of a model whose weights began with a whole detector, head included ("yes").
inline constexpr const char* kStartedWithHead = "started_with_head";

// One network with the mean of all parameters (Wortsman et al. 2022). Its batch norms' statistics
// are means, too, which is no more than a start (norm_statistics.h), and its threshold and
// temperature are the first model's. Throws UsageError for fewer than two models and for models
// that differ in anything but their values, or began from different ones: a mean of those means
// nothing.
Model average_models(std::span<const Model> models);

// All of them in one file: its logit is the mean of theirs. Throws UsageError for fewer than two
// and for models that prepare pictures in other ways or differ in their networks.
Model ensemble_of(std::span<const Model> models);

}  // namespace dfengine
