// cp.async: copies from global to shared memory that land when they are waited for, or earlier.
#include <cstring>

#include "tests/ptx/instructions/memory.h"
#include "tests/ptx/instructions/traffic.h"
#include "tests/ptx/instructions/warp_wide.h"
#include "tests/ptx/report.h"
#include "tests/ptx/settings.h"

namespace dfengine::ptx {
namespace {

void land(Warp& warp, const Copy& copy) {
  std::byte* const to = warp.block->shared + copy.to;
  const auto valid = static_cast<std::size_t>(copy.valid);
  std::memcpy(to, reinterpret_cast<const std::byte*>(copy.from), valid);
  std::memset(to + valid, 0, static_cast<std::size_t>(copy.bytes) - valid);
}

void check_global(Warp& warp, Copy& copy) {
  const auto bytes = static_cast<std::uint64_t>(copy.bytes);
  if (copy.from % bytes != 0) report(warp, "misaligned in device memory");
  if (copy.valid > copy.bytes) report(warp, "copies more than it may");
  if (copy.valid != 0 && !check_device(warp, copy.from, copy.valid, false)) copy.valid = 0;
}

}  // namespace

void copy(Warp& warp, const Instruction& i, Lanes mask) {
  const auto* const to = warp.cells<std::uint32_t>(i.from[0]);
  const auto* const from = warp.cells<std::uint64_t>(i.from[1]);
  Request reads(warp, false), writes(warp, true);
  for_lanes(mask, [&](int lane) {
    Copy made{to[lane], from[lane], i.bytes, i.bytes};
    if (i.sources > 2) made.valid = static_cast<int>(warp.cells<std::uint32_t>(i.from[2])[lane]);
    check_global(warp, made);
    // From here on nobody else may touch the place: the copy may land at any time.
    if (!check_shared(warp, made.to, made.bytes, true)) return;
    if (made.valid > 0) reads.add(lane, reinterpret_cast<const std::byte*>(made.from), made.bytes);
    writes.add(lane, warp.block->shared + made.to, made.bytes);
    if (!settings().late_copies) land(warp, made);
    mark_copy(warp, made, true);
    warp.open.push_back(made);
  });
}

void commit_copies(Warp& warp, const Instruction&, Lanes mask) {
  if (mask != warp.alive) report(warp, "cp.async.commit_group by part of a warp");
  warp.groups.push_back(std::move(warp.open));
  warp.open.clear();
}

// A barrier may lie between a copy's beginning and here, so it is a write once more.
void wait_for_copies(Warp& warp, const Instruction& i, Lanes mask) {
  if (mask != warp.alive) report(warp, "cp.async.wait_group by part of a warp");
  for (; warp.groups.size() > static_cast<std::size_t>(i.immediate); warp.groups.pop_front()) {
    for (const Copy& copy : warp.groups.front()) {
      mark_copy(warp, copy, false);
      check_shared(warp, copy.to, copy.bytes, true);
      if (settings().late_copies) land(warp, copy);
    }
  }
}

bool copies_are_pending(const Warp& warp) {
  for (const auto& group : warp.groups)
    if (!group.empty()) return true;
  return !warp.open.empty();
}

}  // namespace dfengine::ptx
