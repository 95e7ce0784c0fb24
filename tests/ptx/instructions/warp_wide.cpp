#include "tests/ptx/instructions/warp_wide.h"

#include <cstdio>

#include "tests/ptx/report.h"

namespace dfengine::ptx {
namespace {

// PTX ISA, "shfl.sync": the lane that is read from, and whether it lies in the segment.
struct From {
  int lane;
  bool inside;
};

From source_lane(int mode, int lane, std::uint32_t b, std::uint32_t c) {
  const int by = static_cast<int>(b & 31), clamp = static_cast<int>(c & 31);
  const int segment = static_cast<int>(c >> 8 & 31);
  const int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
  switch (mode) {
    case kButterfly:
      return {lane ^ by, (lane ^ by) <= last};
    case kDown:
      return {lane + by, lane + by <= last};
    case kUp:
      return {lane - by, lane - by >= last};
    default: {
      const int index = first | (by & ~segment);
      return {index, index <= last};
    }
  }
}

}  // namespace

void check_whole_warp(const Warp& warp, Lanes mask) {
  if (mask == kAllLanes) return;
  char text[64];
  std::snprintf(text, sizeof text, "lanes %08x, alive %08x", mask, warp.alive);
  report(warp, "by part of a warp", text);
}

void shuffle(Warp& warp, const Instruction& i, Lanes mask) {
  check_whole_warp(warp, mask);
  const auto* const value = warp.cells<std::uint32_t>(i.from[0]);
  const auto* const b = warp.cells<std::uint32_t>(i.from[1]);
  const auto* const c = warp.cells<std::uint32_t>(i.from[2]);
  const auto* const members = warp.cells<std::uint32_t>(i.from[3]);
  std::array<std::uint32_t, kLanes> got{};
  Lanes inside = 0;
  for_lanes(mask, [&](int lane) {
    if ((members[lane] & mask) != members[lane])
      report(warp, "shfl names lanes that are not there");
    const From from = source_lane(i.mode, lane, b[lane], c[lane]);
    inside |= Lanes{from.inside} << lane;
    got[static_cast<std::size_t>(lane)] = value[from.inside ? from.lane : lane];
  });
  auto* const to = warp.cells<std::uint32_t>(i.to[0]);
  for_lanes(mask, [&](int lane) { to[lane] = got[static_cast<std::size_t>(lane)]; });
  if (i.destinations > 1) {
    Lanes& predicate = warp.predicate(i.to[1]);
    predicate = (predicate & ~mask) | inside;
  }
}

void synchronise_warp(Warp& warp, const Instruction&, Lanes mask) {
  if (mask != warp.alive) report(warp, "bar.warp.sync by part of a warp");
}

void arrive_at_cluster_barrier(Warp& warp, const Instruction& i, Lanes mask) {
  if (mask != warp.alive) report(warp, "barrier.cluster.arrive by part of a warp");
  if (warp.arrived) report(warp, "barrier.cluster.arrive twice");
  warp.arrived = true;
  warp.released = i.mode != kRelaxed;
}

void launch_next(Warp&, const Instruction&, Lanes) {}

void await_previous(Warp& warp, const Instruction&, Lanes mask) {
  if (mask != warp.alive) report(warp, "griddepcontrol.wait by part of a warp");
  warp.follows = true;
}

}  // namespace dfengine::ptx
