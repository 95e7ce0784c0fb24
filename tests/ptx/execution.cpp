// How warps, blocks and grids run: PTX ISA, "Control Flow Instructions" and "bar".
#include <algorithm>
#include <cstring>
#include <random>

#include "tests/ptx/instructions/memory.h"
#include "tests/ptx/instructions/warp_wide.h"
#include "tests/ptx/instructions/warpgroup.h"
#include "tests/ptx/report.h"
#include "tests/ptx/schedule.h"
#include "tests/ptx/settings.h"

namespace dfengine::ptx {
namespace {

constexpr std::size_t kSharedAlignment = 1024;
// In random order a warp runs until its so manieth jump at most before others have a turn.
constexpr unsigned kMostJumps = 6;
constexpr int kEndless = -1;

// With a fixed seed, so that a fault once found shows again.
std::mt19937& generator() {
  static std::mt19937 made(1);
  return made;
}

void set_lanes(Warp& warp, Lanes lanes, int at) {
  for_lanes(lanes, [&](int lane) { warp.at[static_cast<std::size_t>(lane)] = at; });
}

// The lanes furthest behind go first, so that they meet the others again.
std::pair<int, Lanes> furthest_behind(const Warp& warp) {
  int least = 0;
  Lanes lanes = 0;
  for_lanes(warp.alive, [&](int lane) {
    const int at = warp.at[static_cast<std::size_t>(lane)];
    if (lanes == 0 || at < least) {
      least = at;
      lanes = 0;
    }
    if (at == least) lanes |= Lanes{1} << lane;
  });
  return {least, lanes};
}

Lanes lanes_that_act(Warp& warp, const Instruction& i, Lanes lanes) {
  if (i.predicate == kNoSlot) return lanes;
  const Lanes set = warp.predicate(i.predicate);
  return lanes & (i.negated ? ~set : set);
}

// What a run of some lanes of a warp ended with.
enum class Pause { Parted, Barrier, Budget };

// Runs lanes that stand at one place until they part, may meet others, end, reach a barrier, or
// have jumped `jumps` times.
Pause run_lanes(Warp& warp, int at, Lanes lanes, int& jumps, long long& count) {
  const Instruction* const code = warp.block->code->instructions.data();
  const bool is_all = lanes == warp.alive;
  for (;;) {
    const Instruction& i = code[at];
    warp.now = &i;
    ++count;
    if (warp.block->counts != nullptr) ++warp.block->counts[at].times;
    const Lanes acting = lanes_that_act(warp, i, lanes);
    switch (i.flow) {
      case Flow::Next:
        if (acting != 0) i.action(warp, i, acting);
        ++at;
        if (is_all || !code[at].target_of_jump) continue;
        set_lanes(warp, lanes, at);
        return Pause::Parted;
      case Flow::Branch:
        set_lanes(warp, lanes & ~acting, at + 1);
        set_lanes(warp, acting, i.jump);
        if (jumps > 0 && --jumps == 0) return Pause::Budget;
        if (!is_all || (acting != lanes && acting != 0)) return Pause::Parted;
        at = acting != 0 ? i.jump : at + 1;
        continue;
      case Flow::Exit:
        warp.alive &= ~acting;
        set_lanes(warp, lanes & ~acting, at + 1);
        return Pause::Parted;
      case Flow::Barrier:
        if (acting != warp.alive) report(warp, "barrier reached by part of a warp");
        set_lanes(warp, lanes, at + 1);
        warp.barrier = at;
        return Pause::Barrier;
    }
  }
}

// True while the warp can go on after its budget of jumps.
bool run_warp(Warp& warp, int jumps, long long& count) {
  while (warp.alive != 0) {
    const auto [at, lanes] = furthest_behind(warp);
    switch (run_lanes(warp, at, lanes, jumps, count)) {
      case Pause::Parted:
        break;
      case Pause::Barrier:
        return false;
      case Pause::Budget:
        return true;
    }
  }
  return false;
}

// A block and its warps, used again for each block of the grid.
class BlockRun {
 public:
  BlockRun(Kernel& kernel, const Launch& launch);

  void set_cluster(const std::vector<Block*>& cluster) { block_.cluster = cluster; }
  Block& block() { return block_; }

  void begin(Extent index);
  // To its end, or to the cluster's next barrier: true where it waits there.
  bool run(long long& count);
  void pass_cluster_barrier();

 private:
  void reset();
  void set_constants(Warp& warp);
  void set_specials(Warp& warp);
  std::uint32_t special(Special which, const Warp& warp, int lane) const;
  void run_to_barrier(long long& count);
  const Warp* waiting_warp();
  void check_end();

  Block block_;
  int threads_;
  std::vector<Warp> warps_;
  std::vector<std::byte> shared_, registers_;
};

BlockRun::BlockRun(Kernel& kernel, const Launch& launch)
    : threads_(static_cast<int>(launch.block.count())) {
  const Code& code = *kernel.code;
  block_.kernel = &kernel;
  if (!settings().traffic.empty() || !settings().lines.empty()) block_.traffic = &kernel.traffic;
  if (!settings().lines.empty()) {
    kernel.counts.resize(code.instructions.size());
    block_.counts = kernel.counts.data();
  }
  block_.code = &code;
  block_.grid = launch.grid;
  block_.size = launch.block;
  block_.shared_bytes = static_cast<std::size_t>(code.static_shared) + launch.dynamic_shared;
  shared_.resize(block_.shared_bytes + kSharedAlignment);
  const auto begin = reinterpret_cast<std::uintptr_t>(shared_.data());
  block_.shared = shared_.data() + (kSharedAlignment - begin % kSharedAlignment) % kSharedAlignment;
  block_.parameters.resize(static_cast<std::size_t>(code.parameter_bytes));
  for (std::size_t n = 0; n < code.parameters.size(); ++n)
    std::memcpy(block_.parameters.data() + code.parameters[n].offset, launch.arguments[n].data(),
                launch.arguments[n].size());
  warps_.resize(static_cast<std::size_t>((threads_ + kLanes - 1) / kLanes));
  block_.local.resize(static_cast<std::size_t>(code.local_bytes) * warps_.size() * kLanes);
  const auto bytes = static_cast<std::size_t>(code.register_bytes);
  registers_.resize(bytes * warps_.size() + kSlotBytes);
  for (std::size_t n = 0; n < warps_.size(); ++n) {
    warps_[n].block = &block_;
    warps_[n].index = static_cast<int>(n);
    warps_[n].registers = registers_.data() + n * bytes;
    set_constants(warps_[n]);
  }
}

void BlockRun::set_constants(Warp& warp) {
  for (const Constant& constant : block_.code->constants)
    for (int lane = 0; lane < kLanes; ++lane)
      warp.cells<std::uint64_t>(constant.slot)[lane] = constant.value;
}

std::uint32_t BlockRun::special(Special which, const Warp& warp, int lane) const {
  const Extent &size = block_.size, &grid = block_.grid, &index = block_.index;
  const auto thread = static_cast<unsigned>(warp.index * kLanes + lane);
  switch (which) {
    case Special::ThreadX:
      return thread % size.x;
    case Special::ThreadY:
      return thread / size.x % size.y;
    case Special::ThreadZ:
      return thread / size.x / size.y;
    case Special::SizeX:
      return size.x;
    case Special::SizeY:
      return size.y;
    case Special::SizeZ:
      return size.z;
    case Special::BlockX:
      return index.x;
    case Special::BlockY:
      return index.y;
    case Special::BlockZ:
      return index.z;
    case Special::GridX:
      return grid.x;
    case Special::GridY:
      return grid.y;
    case Special::GridZ:
      return grid.z;
    case Special::Lane:
      return static_cast<std::uint32_t>(lane);
    case Special::Warp:
      return static_cast<std::uint32_t>(warp.index);
  }
  return 0;
}

void BlockRun::set_specials(Warp& warp) {
  for (const auto& [which, slot] : block_.code->specials)
    for (int lane = 0; lane < kLanes; ++lane)
      warp.cells<std::uint32_t>(slot)[lane] = special(which, warp, lane);
}

// Shared memory is NaN where nobody has written.
void BlockRun::reset() {
  std::memset(block_.shared, 0xFF, block_.shared_bytes);
  block_.traces.assign((block_.shared_bytes + 1) / 2, Trace());
  block_.interval = block_.since_cluster_barrier = block_.since_cluster_release = 1;
  block_.has_ended = false;
  block_.fences.assign(warps_.size(), 0);
  for (Warp& warp : warps_) {
    const int left = threads_ - warp.index * kLanes;
    warp.alive = left >= kLanes ? kAllLanes : (Lanes{1} << left) - 1;
    warp.at.fill(0);
    warp.arrived = false;
    warp.follows = false;
    warp.open.clear();
    warp.groups.clear();
    warp.open_products.clear();
    warp.products.clear();
    warp.begins_products = false;
    set_specials(warp);
  }
}

void BlockRun::run_to_barrier(long long& count) {
  std::vector<Warp*> ready;
  for (Warp& warp : warps_)
    if (warp.alive != 0) ready.push_back(&warp);
  if (order() == Order::Backward) std::reverse(ready.begin(), ready.end());
  if (order() != Order::Random) {
    for (Warp* const warp : ready) run_warp(*warp, kEndless, count);
    return;
  }
  while (!ready.empty()) {
    const std::size_t chosen = generator()() % ready.size();
    const auto jumps = static_cast<int>(1 + generator()() % kMostJumps);
    if (run_warp(*ready[chosen], jumps, count)) continue;
    ready[chosen] = ready.back();
    ready.pop_back();
  }
}

// Null where no warp waits: the block has ended. Warps that have ended are not waited for.
const Warp* BlockRun::waiting_warp() {
  const Warp* first = nullptr;
  for (Warp& warp : warps_) {
    if (warp.alive == 0) continue;
    if (first == nullptr) first = &warp;
    if (warp.barrier != first->barrier) report(warp, "warps wait at different barriers");
  }
  return first;
}

void BlockRun::pass_cluster_barrier() {
  bool released = true;
  for (Warp& warp : warps_) {
    if (warp.alive == 0) continue;
    if (!warp.arrived) report(warp, "barrier.cluster.wait without having arrived");
    if (!warp.released) released = false;
    warp.arrived = false;
  }
  block_.since_cluster_barrier = ++block_.interval;
  if (released) block_.since_cluster_release = block_.interval;
}

// The kernel behind this one waits for this one alone.
void BlockRun::check_end() {
  for (const Warp& warp : warps_) {
    if (copies_are_pending(warp)) report(warp, "the kernel ends before its copies");
    if (products_are_pending(warp)) report(warp, "the kernel ends before its products");
  }
  if (std::ranges::none_of(warps_, &Warp::follows))
    report(warps_[0], "the kernel ends without having waited for those before it");
}

void BlockRun::begin(Extent index) {
  block_.index = index;
  reset();
}

bool BlockRun::run(long long& count) {
  if (block_.has_ended) return false;
  for (;; ++block_.interval) {
    run_to_barrier(count);
    const Warp* const waits = waiting_warp();
    if (waits == nullptr) break;
    if (block_.code->instructions[static_cast<std::size_t>(waits->barrier)].mode == kOfCluster)
      return true;
  }
  check_end();
  block_.has_ended = true;
  return false;
}

// Blocks that have ended are not waited for.
void run_cluster(std::deque<BlockRun>& blocks, long long& count) {
  for (;;) {
    std::vector<BlockRun*> waiting;
    for (std::size_t n = 0; n < blocks.size(); ++n) {
      BlockRun& block = blocks[order() == Order::Backward ? blocks.size() - 1 - n : n];
      if (block.run(count)) waiting.push_back(&block);
    }
    if (waiting.empty()) return;
    for (BlockRun* const block : waiting) block->pass_cluster_barrier();
  }
}

Order& current_order() {
  static Order current = settings().order;
  return current;
}

}  // namespace

Order order() {
  return current_order();
}

void set_order(Order order) {
  current_order() = order;
}

void run_grid(Kernel& kernel, const Launch& launch) {
  std::deque<BlockRun> blocks;
  std::vector<Block*> cluster;
  for (unsigned n = 0; n < launch.cluster; ++n)
    cluster.push_back(&blocks.emplace_back(kernel, launch).block());
  for (BlockRun& block : blocks) block.set_cluster(cluster);
  const Extent& grid = launch.grid;
  const std::uint64_t count = grid.count();
  kernel.traffic.blocks += static_cast<long long>(count);
  for (std::uint64_t n = 0; n < count; n += launch.cluster) {
    std::uint64_t at = order() == Order::Backward ? count - launch.cluster - n : n;
    for (BlockRun& block : blocks) {
      block.begin({static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                   static_cast<unsigned>(at / grid.x / grid.y)});
      ++at;
    }
    run_cluster(blocks, kernel.instructions);
  }
}

}  // namespace dfengine::ptx
