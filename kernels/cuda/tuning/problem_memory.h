// A problem's operands on the device, full of random numbers, between strips in which nobody may
// write.
#pragma once

#include <vector>

#include "kernels/cuda/runtime.h"
#include "kernels/cuda/tuning/tuner.h"

namespace dfengine::cuda {

class ProblemMemory {
 public:
  // The operands several times over, at least `bytes` altogether if `most` sets have as much. The
  // last operand is scratch. Throws DeviceError where there is no room.
  ProblemMemory(Stream stream, const TunerProblem& problem, Index bytes, Index most);

  Index sets() const { return sets_; }
  // In the order of the problem.
  std::span<void* const> operands(Index set) const { return operands_[at(set)]; }

  // Makes the first set ready for a kernel that is given so much scratch: the outputs have their
  // random numbers again, and all that the kernel may not write is NaN.
  void prepare(Index scratch);
  // Waits. Throws DeviceError where such a kernel wrote beside an operand of the first set.
  void require_intact(Index scratch) const;

 private:
  // Bytes of the first set behind which or before which an operand lies.
  struct Strip {
    Index offset, bytes;
    std::string place;
  };
  std::vector<Strip> strips(Index scratch) const;
  std::byte* set(Index i) const { return static_cast<std::byte*>(memory_.get()) + i * set_bytes_; }
  void fill(std::size_t operand);

  Stream stream_;
  TunerProblem problem_;
  std::vector<double> random_;
  std::vector<Index> offsets_;
  Index set_bytes_ = 0, sets_ = 1;
  DeviceMemory memory_;
  std::vector<std::vector<void*>> operands_;
};

}  // namespace dfengine::cuda
