// Sums over the slices of a process and over all processes, where a backend computes.
#pragma once

#include <memory>

#include "engine/runtime/backend.h"
#include "engine/runtime/ranks/cut.h"

namespace dfengine {

// Queued, like all that a step does; pointers into the backend's memory.
class SliceSums {
 public:
  virtual ~SliceSums() = default;
  // As tree_sum (kernels/tree_sum.h), of the slices of this process.
  virtual void of_slices(Index slices, Index pitch, Index count, float* values, float* to) = 0;
  virtual void of_slices(Index slices, Index pitch, Index count, double* values, double* to) = 0;
  // values [count] = the sum of those of all ranks, the same bits on each.
  virtual void of_ranks(Index count, float* values) = 0;
  virtual void of_ranks(Index count, double* values) = 0;
  virtual Index bytes() const = 0;  // of the backend's memory
};

// All ranks call this together. floats, doubles: of_ranks is given so many at most. backend and the
// cut's ranks must outlive it. Throws DeviceError where the ranks' devices cannot be joined.
std::unique_ptr<SliceSums> make_slice_sums(const Backend& backend, const Cut& cut, Index floats,
                                           Index doubles);

}  // namespace dfengine
