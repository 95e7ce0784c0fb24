// Measures how fast pictures can be fed: decoded, resized, augmented, read, and all of it together.
#pragma once

#include "engine/data/loader.h"

namespace dfengine {

// Rates in pictures a second, each from the fastest of the rounds. A rate is 0 where it does not
// apply: a packed set needs no decoding, and a set of files no reading.
struct FeedRates {
  Index pictures = 0;  // looked at in each round
  int threads = 1;
  double megapixels = 0;  // of a decoded picture, the mean
  // On one thread, with the files already in memory:
  double decode = 0, resize = 0, decode_resize = 0;
  double augment = 0;  // the square picture; 0 where no augmentation is asked for
  double read = 0;     // from a packed file
  // On all threads at once, decode_resize or read:
  double all_threads = 0;
  // Whole batches out of a Loader with as many threads: from the files or the packed file, and
  // again from memory.
  double feed = 0, feed_cached = 0;
};

// Measures the first `most` samples of the set, as `how` prepares and augments them, without bad
// files. Throws UsageError for `most` or `rounds` below 1, DataError when no picture can be read.
FeedRates measure_feed(const Dataset& dataset, const LoaderOptions& how, Index most, int rounds);

}  // namespace dfengine
