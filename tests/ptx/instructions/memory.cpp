#include "tests/ptx/instructions/memory.h"

#include <cstring>

#include "tests/ptx/instructions/traffic.h"

namespace dfengine::ptx {
namespace {

std::uint64_t address(Warp& warp, const Instruction& i, int lane) {
  std::uint64_t base = 0;
  if (i.from[0] != kNoSlot)
    base = i.wide_address ? warp.cells<std::uint64_t>(i.from[0])[lane]
                          : warp.cells<std::uint32_t>(i.from[0])[lane];
  return base + static_cast<std::uint64_t>(i.immediate);
}

std::uint64_t sign_extended(std::uint64_t value, int bytes) {
  const int unused = 64 - 8 * bytes;
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
}

void set_cell(Warp& warp, Slot slot, bool wide, int lane, std::uint64_t value) {
  if (wide) {
    warp.cells<std::uint64_t>(slot)[lane] = value;
  } else {
    warp.cells<std::uint32_t>(slot)[lane] = static_cast<std::uint32_t>(value);
  }
}

}  // namespace

void load(Warp& warp, const Instruction& i, Lanes mask) {
  const auto bytes = static_cast<std::size_t>(i.bytes);
  Request request(warp, false);
  for_lanes(mask, [&](int lane) {
    const std::byte* from = resolve(warp, i, address(warp, i, lane), i.bytes * i.vector, false);
    if (i.space != Space::Cluster) request.add(lane, from, i.bytes * i.vector);
    for (int v = 0; v < i.vector; ++v) {
      std::uint64_t value = 0;
      if (from != nullptr) {
        std::memcpy(&value, from, bytes);
        from += bytes;
      }
      if (i.sign_extends) value = sign_extended(value, i.bytes);
      set_cell(warp, i.to[static_cast<std::size_t>(v)], i.wide_value, lane, value);
    }
  });
}

void store(Warp& warp, const Instruction& i, Lanes mask) {
  const auto bytes = static_cast<std::size_t>(i.bytes);
  Request request(warp, true);
  for_lanes(mask, [&](int lane) {
    std::byte* to = resolve(warp, i, address(warp, i, lane), i.bytes * i.vector, true);
    if (i.space != Space::Cluster) request.add(lane, to, i.bytes * i.vector);
    if (to == nullptr) return;
    for (int v = 0; v < i.vector; ++v, to += bytes) {
      const Slot slot = i.from[static_cast<std::size_t>(1 + v)];
      // The low bytes stand first.
      if (i.wide_value) {
        std::memcpy(to, &warp.cells<std::uint64_t>(slot)[lane], bytes);
      } else {
        std::memcpy(to, &warp.cells<std::uint32_t>(slot)[lane], bytes);
      }
    }
  });
}

void address_of_local(Warp& warp, const Instruction& i, Lanes mask) {
  Block& block = *warp.block;
  const auto base = reinterpret_cast<std::uint64_t>(block.local.data());
  auto* const to = warp.cells<std::uint64_t>(i.to[0]);
  for_lanes(mask, [&](int lane) {
    const auto thread = static_cast<std::uint64_t>(warp.index * kLanes + lane);
    to[lane] = base + thread * static_cast<std::uint64_t>(block.code->local_bytes) +
               static_cast<std::uint64_t>(i.immediate);
  });
}

void shared_to_generic(Warp& warp, const Instruction& i, Lanes mask) {
  const auto base = reinterpret_cast<std::uint64_t>(warp.block->shared);
  auto* const to = warp.cells<std::uint64_t>(i.to[0]);
  const auto* const from = warp.cells<std::uint64_t>(i.from[0]);
  for_lanes(mask, [&](int lane) { to[lane] = from[lane] + base; });
}

void generic_to_shared(Warp& warp, const Instruction& i, Lanes mask) {
  const auto base = reinterpret_cast<std::uint64_t>(warp.block->shared);
  auto* const to = warp.cells<std::uint64_t>(i.to[0]);
  const auto* const from = warp.cells<std::uint64_t>(i.from[0]);
  for_lanes(mask, [&](int lane) { to[lane] = from[lane] - base; });
}

void map_to_block(Warp& warp, const Instruction& i, Lanes mask) {
  auto* const to = warp.cells<std::uint32_t>(i.to[0]);
  const auto* const address = warp.cells<std::uint32_t>(i.from[0]);
  const auto* const rank = warp.cells<std::uint32_t>(i.from[1]);
  for_lanes(mask, [&](int lane) { to[lane] = rank[lane] << kRankBit | address[lane]; });
}

void split_register(Warp& warp, const Instruction& i, Lanes mask) {
  auto* const low = warp.cells<std::uint32_t>(i.to[0]);
  auto* const high = warp.cells<std::uint32_t>(i.to[1]);
  for_lanes(mask, [&](int lane) {
    if (i.bytes == 8) {
      const std::uint64_t value = warp.cells<std::uint64_t>(i.from[0])[lane];
      low[lane] = static_cast<std::uint32_t>(value);
      high[lane] = static_cast<std::uint32_t>(value >> 32);
    } else {
      const std::uint32_t value = warp.cells<std::uint32_t>(i.from[0])[lane];
      low[lane] = value & 0xFFFF;
      high[lane] = value >> 16;
    }
  });
}

void join_registers(Warp& warp, const Instruction& i, Lanes mask) {
  const auto* const low = warp.cells<std::uint32_t>(i.from[0]);
  const auto* const high = warp.cells<std::uint32_t>(i.from[1]);
  for_lanes(mask, [&](int lane) {
    if (i.bytes == 8) {
      warp.cells<std::uint64_t>(i.to[0])[lane] = std::uint64_t{high[lane]} << 32 | low[lane];
    } else {
      warp.cells<std::uint32_t>(i.to[0])[lane] = high[lane] << 16 | (low[lane] & 0xFFFF);
    }
  });
}

}  // namespace dfengine::ptx
