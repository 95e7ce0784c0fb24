// How long a piece of work takes: warmed up, repeated, the median over rounds.
#pragma once

#include <functional>
#include <vector>

#include "engine/runtime/backend.h"

namespace dfengine {

struct TimingOptions {
  int rounds = 5;
  // Least length of a round, in milliseconds: shorter work is repeated within it.
  double round_ms = 20;
};

// Milliseconds of the work done once.
struct Timing {
  double median_ms = 0, fastest_ms = 0;  // over the rounds
  int rounds = 0;
  Index repeats = 0;  // of the work in each round
};

// Of at least one value; of an even number the mean of the middle two.
double median(std::vector<double> values);

// Does the work so many times.
using RepeatedWork = std::function<void(Index repeats)>;

// Both do the work at least three times before the rounds that count, so that memory is touched,
// kernels are loaded and captured, and clocks are up. Throw UsageError for no rounds.
// By the host's clock: work waits for what it starts.
Timing time_on_host(const TimingOptions& options, const RepeatedWork& work);
// By the backend's own clock (Backend::milliseconds): work only queues.
Timing time_on(const Backend& backend, const TimingOptions& options, const RepeatedWork& work);

// The size of an array beyond the caches that one stream of copies can use there.
Index bytes_beyond_caches(const Backend& backend);

// GB/s (1e9 bytes) that a plain copy of an array moves, reads and writes counted: what all that is
// bound by memory is held against where the array is beyond the caches.
// On the CPU all threads of the pool copy.
double copy_rate(const Backend& backend, Index bytes, int rounds);

}  // namespace dfengine
