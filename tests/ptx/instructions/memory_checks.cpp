#include <cstdlib>
#include <cstring>
#include <map>

#include "tests/ptx/instructions/memory.h"
#include "tests/ptx/report.h"

namespace dfengine::ptx {
namespace {

// What cudaMalloc gives is aligned to as much at least.
constexpr std::size_t kAlignment = 256;
// NaN in every format, where nobody has written yet.
constexpr int kPoison = 0xFF;
// Reads by more than one warp.
constexpr std::int16_t kSeveral = -2;

struct Allotted {
  std::uint64_t begin = 0, end = 0;
  // Of each kAlignment bytes: whether a kernel wrote there after the last copy of the runtime's.
  std::vector<bool> by_kernel;
};
// By their first address. Entry points take the runtime's lock, under which kernels run too.
std::map<std::uint64_t, Allotted> allotted;
Allotted* last_hit = nullptr;

// Where the range lies; null where it does not.
Allotted* find_allotted(std::uint64_t address, std::uint64_t bytes) {
  if (last_hit != nullptr && address >= last_hit->begin && address + bytes <= last_hit->end)
    return last_hit;
  auto next = allotted.upper_bound(address);
  if (next == allotted.begin()) return nullptr;
  Allotted& found = (--next)->second;
  if (address + bytes > found.end) return nullptr;
  return last_hit = &found;
}

std::size_t place_in(const Allotted& memory, std::uint64_t address) {
  return (address - memory.begin) / kAlignment;
}

std::uint64_t number(const void* p) {
  return reinterpret_cast<std::uint64_t>(p);
}

std::string range(std::uint64_t offset, int bytes) {
  return std::to_string(bytes) + " bytes at " + std::to_string(offset);
}

void check_race(Warp& warp, std::uint64_t offset, bool writes) {
  Block& block = *warp.block;
  Trace& trace = block.traces[offset / 2];
  const bool written = trace.written == block.interval && trace.writer != warp.index;
  const bool read = trace.read == block.interval && trace.reader != warp.index;
  if (trace.under_way)
    report(warp, writes ? "write to where a copy is under way" : "read of a copy not waited for",
           range(offset, 2));
  if (writes) {
    if (written) report(warp, "race: write after another warp's write", range(offset, 2));
    if (read) report(warp, "race: write after another warp's read", range(offset, 2));
    if (trace.read_by_other >= block.since_cluster_barrier)
      report(warp, "race: write after another block's read", range(offset, 2));
    trace.writer = static_cast<std::int16_t>(warp.index);
    trace.written = block.interval;
    trace.fences = block.fences[static_cast<std::size_t>(warp.index)];
  } else {
    if (written) report(warp, "race: read after another warp's write", range(offset, 2));
    trace.reader = read ? kSeveral : static_cast<std::int16_t>(warp.index);
    trace.read = block.interval;
  }
}

// Of the shared memory of a block of the cluster, as mapa gives its addresses.
std::byte* resolve_in_cluster(Warp& warp, std::uint64_t address, int bytes, bool writes) {
  const std::uint64_t rank = address >> kRankBit, offset = address & ((1U << kRankBit) - 1);
  if (rank >= warp.block->cluster.size()) {
    report(warp, "no such block in the cluster", std::to_string(rank));
    return nullptr;
  }
  Block& block = *warp.block->cluster[rank];
  if (&block == warp.block)
    return check_shared(warp, offset, bytes, writes) ? block.shared + offset : nullptr;
  const auto length = static_cast<std::uint64_t>(bytes);
  if (writes) stop("a write to another block's shared memory is not known here");
  if (block.has_ended) report(warp, "read of the shared memory of a block that has ended");
  if (offset + length > block.shared_bytes) {
    report(warp, "read out of bounds of another block's shared memory", range(offset, bytes));
    return nullptr;
  }
  if (offset % length != 0) report(warp, "misaligned in shared memory", range(offset, bytes));
  for (std::uint64_t at = offset; at < offset + length; at += 2) {
    Trace& trace = block.traces[at / 2];
    if (trace.written >= block.since_cluster_release)
      report(warp, "race: read of what another block wrote since the cluster's barrier",
             range(at, 2));
    trace.read_by_other = block.interval;
  }
  return block.shared + offset;
}

}  // namespace

void* allot_device(std::size_t bytes) {
  void* const memory =
      std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (memory == nullptr) return nullptr;
  std::memset(memory, kPoison, bytes);
  const std::uint64_t begin = number(memory);
  allotted[begin] = {begin, begin + bytes, std::vector<bool>(bytes / kAlignment + 1)};
  return memory;
}

bool free_device(void* memory) {
  if (allotted.erase(number(memory)) == 0) return false;
  last_hit = nullptr;
  std::free(memory);
  return true;
}

bool in_device(std::uint64_t address, std::uint64_t bytes) {
  return find_allotted(address, bytes) != nullptr;
}

void note_copy(const void* to, std::size_t bytes) {
  Allotted* const memory = find_allotted(number(to), bytes);
  if (memory == nullptr || bytes == 0) return;
  for (std::size_t at = place_in(*memory, number(to));
       at <= place_in(*memory, number(to) + bytes - 1); ++at)
    memory->by_kernel[at] = false;
}

bool check_device(Warp& warp, std::uint64_t address, int bytes, bool writes) {
  Allotted* const memory = find_allotted(address, static_cast<std::uint64_t>(bytes));
  if (memory == nullptr) {
    report(warp,
           writes ? "write out of bounds of device memory" : "read out of bounds of device memory",
           std::to_string(bytes) + " bytes");
    return false;
  }
  auto by_kernel = memory->by_kernel[place_in(*memory, address)];
  if (!warp.follows && writes) report(warp, "write before griddepcontrol.wait");
  if (!warp.follows && by_kernel)
    report(warp, "read of a kernel's result before griddepcontrol.wait");
  if (writes) by_kernel = true;
  return true;
}

bool check_shared(Warp& warp, std::uint64_t offset, int bytes, bool writes) {
  const std::uint64_t size = warp.block->shared_bytes;
  const auto length = static_cast<std::uint64_t>(bytes);
  if (offset > size || offset + length > size) {
    report(warp,
           writes ? "write out of bounds of shared memory" : "read out of bounds of shared memory",
           range(offset, bytes) + " of " + std::to_string(size));
    return false;
  }
  if (offset % length != 0) report(warp, "misaligned in shared memory", range(offset, bytes));
  for (std::uint64_t at = offset; at < offset + length; at += 2) check_race(warp, at, writes);
  return true;
}

void mark_copy(Warp& warp, const Copy& copy, bool under_way) {
  for (std::uint64_t at = copy.to;
       at < std::uint64_t{copy.to} + static_cast<std::uint64_t>(copy.bytes); at += 2)
    warp.block->traces[at / 2].under_way = under_way;
}

std::byte* resolve(Warp& warp, const Instruction& i, std::uint64_t address, int bytes,
                   bool writes) {
  Block& block = *warp.block;
  if (i.space == Space::Parameter) return block.parameters.data() + address;
  if (i.space == Space::Cluster) return resolve_in_cluster(warp, address, bytes, writes);
  if (i.space == Space::Shared)
    return check_shared(warp, address, bytes, writes) ? block.shared + address : nullptr;
  const auto length = static_cast<std::uint64_t>(bytes);
  if (address % length != 0) report(warp, "misaligned", range(address % kAlignment, bytes));
  auto* const memory = reinterpret_cast<std::byte*>(address);
  const std::uint64_t in_shared = address - number(block.shared);
  if (in_shared < block.shared_bytes)
    return check_shared(warp, in_shared, bytes, writes) ? memory : nullptr;
  const std::uint64_t in_local = address - number(block.local.data());
  if (in_local < block.local.size()) return memory;
  return check_device(warp, address, bytes, writes) ? memory : nullptr;
}

}  // namespace dfengine::ptx
