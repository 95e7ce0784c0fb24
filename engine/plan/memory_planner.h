// Places buffers with known lifetimes in one arena. A pure function: sizes and lifetimes in,
// offsets out.
#pragma once

#include <span>
#include <vector>

#include "kernels/base/shape.h"

namespace dfengine {

// A buffer that must keep its bytes from step `first` to step `last`, both included.
struct Lifetime {
  Index bytes = 0;
  int first = 0;
  int last = 0;
};

struct Placement {
  std::vector<Index> offsets;  // one per lifetime, multiples of kArenaAlignment
  Index total = 0;             // bytes the arena needs
};

inline constexpr Index kArenaAlignment = 64;

// Greedy by size (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net
// Inference"): largest first, each into the smallest gap between the already placed buffers it
// overlaps in time. Two buffers whose lifetimes share a step never share a byte. Buffers of 0 bytes
// get offset 0.
Placement plan_memory(std::span<const Lifetime> lifetimes);

}  // namespace dfengine
