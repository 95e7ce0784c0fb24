// What runs a kernel: clusters of blocks, a block with its shared memory, warps with their
// registers.
#pragma once

#include <bit>
#include <deque>
#include <functional>

#include "tests/ptx/program/program.h"

namespace dfengine::ptx {

struct Extent {
  unsigned x = 1, y = 1, z = 1;
  std::uint64_t count() const { return std::uint64_t{x} * y * z; }
};

// Who touched two bytes of shared memory last, and in which barrier interval.
struct Trace {
  std::int16_t writer = -1, reader = -1;
  std::uint32_t written = 0, read = 0;
  std::uint32_t read_by_other = 0;  // block of the cluster: in which interval of this one's
  std::uint32_t fences = 0;         // of the writer, before it wrote
  bool under_way = false;           // a copy writes here that nobody has waited for yet
};

struct Block {
  const Kernel* kernel = nullptr;
  const Code* code = nullptr;
  Extent grid, size, index;
  std::uint32_t interval = 1;   // counts barriers
  std::vector<Block*> cluster;  // of which this is one
  // The interval that began with it, and the one that began with the last that orders memory.
  std::uint32_t since_cluster_barrier = 1, since_cluster_release = 1;
  bool has_ended = false;
  std::byte* shared = nullptr;
  std::uint64_t shared_bytes = 0;
  std::vector<Trace> traces;
  std::vector<std::byte> parameters, local;
  std::vector<std::uint32_t> fences;   // of each warp: fence.proxy.async so far
  Traffic* traffic = nullptr;          // its kernel's; null: it is not counted
  InstructionCount* counts = nullptr;  // of each instruction of its kernel, likewise
};

// One lane's part of a cp.async.
struct Copy {
  std::uint32_t to = 0;
  std::uint64_t from = 0;
  int bytes = 0, valid = 0;  // what is not valid becomes zero
};

// A wgmma that is not yet waited for, with the descriptors of its factors.
struct PendingProduct {
  const Instruction* instruction = nullptr;
  std::uint64_t a = 0, b = 0;
};

struct Warp {
  Block* block = nullptr;
  std::byte* registers = nullptr;
  int index = 0;
  Lanes alive = 0;
  std::array<int, kLanes> at{};  // each lane's next instruction
  int barrier = 0;               // the instruction at which it waits
  bool arrived = false;          // at the cluster's barrier, for which it has yet to wait
  bool released = false;         // with it, what it has written
  bool follows = false;          // has waited for the kernels before its own
  std::vector<Copy> open;        // not yet committed
  std::deque<std::vector<Copy>> groups;
  std::vector<PendingProduct> open_products;  // not yet committed
  std::deque<std::vector<PendingProduct>> products;
  bool begins_products = false;      // wgmma.fence since the last wait
  const Instruction* now = nullptr;  // for reports

  template <class T>
  T* cells(Slot slot) {
    return reinterpret_cast<T*>(registers + slot);
  }
  Lanes& predicate(Slot slot) { return *cells<Lanes>(slot); }
};

// Calls body(lane) for each lane of the mask. The whole warp is the case that must be fast.
template <class Body>
inline void for_lanes(Lanes mask, Body&& body) {
  if (mask == kAllLanes) {
    for (int lane = 0; lane < kLanes; ++lane) body(lane);
  } else {
    for (; mask != 0; mask &= mask - 1) body(std::countr_zero(mask));
  }
}

// Where mapa leads: a block of the cluster, and an offset in its shared memory.
constexpr int kRankBit = 24;

struct Launch {
  Extent grid, block;
  unsigned cluster = 1;  // blocks along x
  std::size_t dynamic_shared = 0;
  std::vector<std::vector<std::byte>> arguments;  // each parameter's value
};

// Runs the grid to its end.
void run_grid(Kernel& kernel, const Launch& launch);

}  // namespace dfengine::ptx
