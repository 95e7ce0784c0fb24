// How the batches of a training that several processes share are cut.
#pragma once

#include "engine/runtime/ranks/communicator.h"

namespace dfengine {

// Into `slices`, of which this process has `count` from `first` on.
struct Cut {
  Index slices = 1, first = 0, count = 1;
  Communicator* ranks = nullptr;
  // Ranks on devices are added in whatever order is fastest, and not in a tree.
  bool fast = false;

  // The part of a rank. Throws UsageError unless slices is a power of two, and the ranks divide it.
  static Cut of(Index slices, Communicator& ranks);
  bool whole() const { return slices == 1; }
};

}  // namespace dfengine
