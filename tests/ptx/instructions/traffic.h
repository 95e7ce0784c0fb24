// What a kernel's instructions ask of memory, counted where PTX_TRAFFIC says so.
#pragma once

#include "tests/ptx/machine.h"

namespace dfengine::ptx {

// One instruction of a warp: how many bytes each lane reads or writes, and where. It is counted at
// its end. Other blocks' shared memory, parameters and local memory are not.
class Request {
 public:
  Request(Warp& warp, bool writes) : block_(*warp.block), instruction_(warp.now), writes_(writes) {}
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request() {
    if (block_.traffic != nullptr) count();
  }
  void add(int lane, const std::byte* at, int bytes) {
    if (block_.traffic != nullptr && at != nullptr) note(lane, at, bytes);
  }

 private:
  void note(int lane, const std::byte* at, int bytes);
  void count() const;
  void count_shared() const;
  void count_device() const;

  Block& block_;
  const Instruction* instruction_;
  bool writes_;
  int bytes_ = 0;
  Lanes shared_ = 0, device_ = 0;
  std::array<std::uint64_t, kLanes> addresses_{};
};

}  // namespace dfengine::ptx
