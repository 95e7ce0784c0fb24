// Training from picture files, end to end: how many pictures a second are read, decoded, prepared,
// augmented and trained on.
#pragma once

#include "engine/bench/workload.h"
#include "engine/data/loader.h"

namespace dfengine {

struct FilesTiming {
  Index pictures = 0;  // trained on
  Index batch = 0;
  double images_per_second = 0;
  double waited = 0;  // share of the time in which training waited for pictures
};

// Whole training steps of all parameters over epochs of the set, shuffled, through the very loader
// and steps of a training run, until `seconds` have passed and at least one step is done; two steps
// before that do not count. No picture is kept prepared: every one comes from its file (or a packed
// set). how: the resize rule, crop, batch, augmentation, limit of pixels and what to do with bad
// files; decoding threads are chosen as in training. Throws what loading throws.
FilesTiming measure_files_training(const BenchTarget& target, const Dataset& dataset,
                                   const LoaderOptions& how, double seconds);

}  // namespace dfengine
