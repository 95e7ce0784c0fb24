// Processes of one run with a device each, which exchange in the order of a stream: by NCCL, which
// is opened when several first meet. In the stand-in (emulated/) they are threads of one process.
#pragma once

#include <memory>
#include <string>

#include "kernels/base/index.h"
#include "kernels/cuda/stream.h"

namespace dfengine::cuda {

// What one process makes and tells the others, by which they find each other. Throws DeviceError
// where NCCL is not here.
std::string new_meeting();

class DeviceRanks {
 public:
  // All call this together, each with the device that is current; waits for the last. Throws
  // DeviceError with NCCL's reason, such as two processes on one device.
  DeviceRanks(const std::string& meeting, int rank, int size);
  // Gives up what is under way where an exception leaves: others may be gone. Graphs that were
  // captured with it must be gone before.
  ~DeviceRanks();
  DeviceRanks(const DeviceRanks&) = delete;
  DeviceRanks& operator=(const DeviceRanks&) = delete;

  // Both queue; all ranks call them in one order, and a captured graph may hold them.
  // all [size, bytes] = what each rank has in `mine`, by rank.
  void gather(Stream stream, Index bytes, const void* mine, void* all) const;
  // values [count] = the sum over all ranks in an order of NCCL's, the same bits on each.
  void sum(Stream stream, Index count, float* values) const;
  void sum(Stream stream, Index count, double* values) const;

 private:
  struct Joined;
  std::unique_ptr<Joined> joined_;
};

}  // namespace dfengine::cuda
