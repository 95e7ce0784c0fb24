// How fast pictures can be fed: decoding, resizing, augmenting, reading, and all of it together.
#pragma once

#include "engine/data/loader.h"

namespace dfengine {

// Pictures a second. Of each figure the fastest of the rounds; 0 where it does not apply (a packed
// set needs no decoding, a set of files no reading).
struct FeedRates {
  Index pictures = 0;  // looked at in each round
  int threads = 1;
  double megapixels = 0;  // of the mean decoded picture
  // On one thread, files already in memory:
  double decode = 0, resize = 0, decode_resize = 0;
  double augment = 0;  // of the square picture; 0 with no augmentation asked for
  double read = 0;     // from a packed file
  // decode_resize (or read) on all threads at once.
  double all_threads = 0;
  // Whole batches out of a Loader with that many threads: from the files (or the packed file), and
  // again from memory.
  double feed = 0, feed_cached = 0;
};

// Measures the first `most` samples of the set, as `how` prepares and augments them; bad files are
// left out. Throws UsageError for most or rounds below 1, DataError when no picture can be read.
FeedRates measure_feed(const Dataset& dataset, const LoaderOptions& how, Index most, int rounds);

}  // namespace dfengine
