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

// By their first address. Entry points take the runtime's lock, under which kernels run too.
std::map<std::uint64_t, std::uint64_t> allotted;
struct {
  std::uint64_t begin = 0, end = 0;
} last_hit;

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
    trace.writer = static_cast<std::int16_t>(warp.index);
    trace.written = block.interval;
    trace.fences = block.fences[static_cast<std::size_t>(warp.index)];
  } else {
    if (written) report(warp, "race: read after another warp's write", range(offset, 2));
    trace.reader = read ? kSeveral : static_cast<std::int16_t>(warp.index);
    trace.read = block.interval;
  }
}

}  // namespace

void* allot_device(std::size_t bytes) {
  void* const memory =
      std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (memory == nullptr) return nullptr;
  std::memset(memory, kPoison, bytes);
  allotted[number(memory)] = bytes;
  return memory;
}

bool free_device(void* memory) {
  if (allotted.erase(number(memory)) == 0) return false;
  last_hit = {};
  std::free(memory);
  return true;
}

bool in_device(std::uint64_t address, std::uint64_t bytes) {
  if (address >= last_hit.begin && address + bytes <= last_hit.end) return true;
  auto next = allotted.upper_bound(address);
  if (next == allotted.begin()) return false;
  const auto& [begin, size] = *--next;
  if (address + bytes > begin + size) return false;
  last_hit = {begin, begin + size};
  return true;
}

void check_follows(const Warp& warp) {
  if (!warp.follows) report(warp, "device memory before griddepcontrol.wait");
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
  if (in_device(address, length)) {
    check_follows(warp);
    return memory;
  }
  report(warp,
         writes ? "write out of bounds of device memory" : "read out of bounds of device memory",
         std::to_string(bytes) + " bytes");
  return nullptr;
}

}  // namespace dfengine::ptx
