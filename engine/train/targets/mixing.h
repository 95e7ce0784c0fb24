// Targets and pictures that are mixed or softened for training.
#pragma once

#include "engine/data/loader.h"

namespace dfengine {

// The share of mixup (Zhang et al. 2018) for one batch, from Beta(alpha, alpha): it depends on
// seed, epoch and step alone. alpha > 0.
double draw_share(double alpha, std::uint64_t seed, std::uint64_t epoch, Index step);

// Each picture i of a slice of n and its target becomes share * i + (1 - share) * (n - 1 - i),
// pixels rounded half to even, as timm's FastCollateMixup has it.
void mix_batch(Batch& batch, double share);

// A target t becomes t (1 - smoothing) + smoothing / 2: timm's one-hot of two classes.
void smooth_targets(std::vector<float>& targets, double smoothing);

}  // namespace dfengine
