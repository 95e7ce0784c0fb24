#include "kernels/cuda/emulated/emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/cuda/emulated/order.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace dfengine::cuda::emulated {
namespace {

constexpr std::size_t kStackBytes = 128 << 10, kVectorBytes = 16;

enum class State { Ready, AtBlockBarrier, AtWarpBarrier, AtClusterBarrier, Done };

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};

// A place to go on from. The first switch to a stack needs ucontext; later ones jump, since
// swapcontext asks the kernel for the signal mask each time. The address sanitizer forbids jumps.
struct Context {
  ucontext_t full{};
  jmp_buf light{};
  bool started = false;
};

void switch_context(Context& from, Context& to) {
#if defined(__SANITIZE_ADDRESS__)
  swapcontext(&from.full, &to.full);
#else
  if (_setjmp(from.light) != 0) return;
  if (to.started) _longjmp(to.light, 1);
  to.started = true;
  setcontext(&to.full);
#endif
}

struct Fiber {
  Context context;
  std::unique_ptr<std::byte[]> stack;
  void* fake_stack = nullptr;  // the address sanitizer's
  State state = State::Done;
  int index = 0;  // in the cluster
  Thread thread;
  unsigned exchanges = 0;
  std::deque<std::vector<Copy>> groups;  // committed copies
  std::vector<Copy> open;
};

// One cluster at a time; everything here belongs to the launch that holds the mutex.
struct Machine {
  std::mutex mutex;
  Order order = Order::Forward;
  Context scheduler;
  void* scheduler_fake_stack = nullptr;
  std::deque<Fiber> fibers;  // that never move
  int live = 0;              // fibers of a block
  int cluster = 1;           // blocks
  Fiber* running = nullptr;
  const std::function<void()>* body = nullptr;
  std::vector<std::byte> shared;
  std::size_t shared_apart = 0;  // from a block's shared memory to the next one's
  // [2, warps, 32, kMaxExchange]: a warp's exchanges take the two in turn, so that nobody writes to
  // the one that others still read.
  std::vector<std::byte> slots;
};

Machine& machine() {
  static Machine m;
  return m;
}

// Tells the address sanitizer that the stack changes.
void before_switch([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* stack,
                   [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#endif
}

void after_switch([[maybe_unused]] void* fake_stack) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

const void* scheduler_stack = nullptr;
std::size_t scheduler_stack_bytes = 0;

void back_to_scheduler(State state) {
  Machine& m = machine();
  Fiber& fiber = *m.running;
  fiber.state = state;
  before_switch(&fiber.fake_stack, scheduler_stack, scheduler_stack_bytes);
  switch_context(fiber.context, m.scheduler);
  after_switch(fiber.fake_stack);
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
  for (;;) {  // a fiber serves one thread after another
    (*machine().body)();
    back_to_scheduler(State::Done);
  }
}

void resume(Fiber& fiber) {
  Machine& m = machine();
  m.running = &fiber;
  before_switch(&m.scheduler_fake_stack, fiber.stack.get(), kStackBytes);
  m.scheduler.started = true;
  switch_context(m.scheduler, fiber.context);
  after_switch(m.scheduler_fake_stack);
  m.running = nullptr;
}

void make_context(Fiber& fiber) {
  fiber.stack = std::make_unique<std::byte[]>(kStackBytes);
  ucontext_t& context = fiber.context.full;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack.get();
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, fiber_main, 0);
}

void start(Fiber& fiber, int index, const Thread& thread) {
  if (!fiber.stack) make_context(fiber);
  fiber.thread = thread;
  fiber.index = index;
  fiber.state = State::Ready;
  fiber.groups.clear();
  fiber.open.clear();
  fiber.exchanges = 0;
}

struct Fibers {
  std::deque<Fiber>::iterator from, to;
  auto begin() const { return from; }
  auto end() const { return to; }
  int size() const { return static_cast<int>(to - from); }
};

bool all_are(const Fibers& fibers, State state) {
  return std::all_of(fibers.from, fibers.to, [=](const Fiber& f) { return f.state == state; });
}

void release(const Fibers& fibers) {
  for (Fiber& fiber : fibers) fiber.state = State::Ready;
}

// Calls body for each part of so many fibers, in the order of the machine.
template <class Body>
void for_parts(const Fibers& fibers, int size, Body&& body) {
  const int all = fibers.size(), parts = (all + size - 1) / size;
  for (int i = 0; i < parts; ++i) {
    const int first = (machine().order == Order::Forward ? i : parts - 1 - i) * size;
    body(Fibers{fibers.from + first, fibers.from + std::min(first + size, all)});
  }
}

// As far as a warp comes without the others. A warp's barrier needs all of its lanes, and a block's
// all of its threads, returned ones too: stricter than the hardware.
void run_warp(const Fibers& warp) {
  for (;;) {
    for_parts(warp, 1, [](const Fibers& one) {
      if (one.from->state == State::Ready) resume(*one.from);
    });
    if (!all_are(warp, State::AtWarpBarrier)) return;
    release(warp);
  }
}

[[noreturn]] void fail_at_barrier(const Fibers& fibers) {
  const auto done =
      std::count_if(fibers.from, fibers.to, [](const Fiber& f) { return f.state == State::Done; });
  const std::string counts = std::to_string(done) + " of " + std::to_string(fibers.size());
  machine().fibers.clear();  // they stand in the middle of the kernel
  throw Error("emulated CUDA: a barrier that only some of the threads reach (" + counts +
              " have returned)");
}

// To its end, or to the cluster's next barrier. One warp runs ahead of all others up to the block's
// next barrier, so that a missing one shows.
void run_block(const Fibers& block) {
  for (;;) {
    for_parts(block, kWarp, run_warp);
    if (all_are(block, State::Done) || all_are(block, State::AtClusterBarrier)) return;
    if (!all_are(block, State::AtBlockBarrier)) fail_at_barrier(block);
    release(block);
  }
}

// One block runs ahead of all others up to the cluster's next barrier.
void run_cluster() {
  Machine& m = machine();
  const Fibers all{m.fibers.begin(), m.fibers.begin() + m.cluster * m.live};
  for (;;) {
    for_parts(all, m.live, run_block);
    if (all_are(all, State::Done)) return;
    if (!all_are(all, State::AtClusterBarrier)) fail_at_barrier(all);
    release(all);
  }
}

std::byte* shared_of(int rank) {
  Machine& m = machine();
  const auto address = reinterpret_cast<std::uintptr_t>(m.shared.data());
  return m.shared.data() + (kVectorBytes - address % kVectorBytes) % kVectorBytes +
         static_cast<std::size_t>(rank) * m.shared_apart;
}

int rank_of_running() {
  return machine().running->index / machine().live;
}

void land(const Copy& copy) {
  if (copy.from != nullptr) {
    std::memcpy(copy.to, copy.from, copy.bytes);
  } else {
    std::memset(copy.to, 0, copy.bytes);
  }
}

void poison(std::vector<std::byte>& bytes) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (std::size_t i = 0; i + sizeof nan <= bytes.size(); i += sizeof nan)
    std::memcpy(bytes.data() + i, &nan, sizeof nan);
}

}  // namespace

const Thread& current() {
  return machine().running->thread;
}

void set_order(Order order) {
  machine().order = order;
}

void run(Extent grid, Extent block, std::size_t shared, const std::function<void()>& body,
         unsigned cluster) {
  Machine& m = machine();
  const std::lock_guard lock(m.mutex);
  m.body = &body;
  m.live = static_cast<int>(block.x * block.y * block.z);
  m.cluster = static_cast<int>(cluster);
  if (grid.x % cluster != 0 || (cluster > 1 && m.live % kWarp != 0))
    throw Error("emulated CUDA: clusters that do not divide the grid, or not of whole warps");
  const auto fibers = static_cast<std::size_t>(m.cluster * m.live);
  if (m.fibers.size() < fibers) m.fibers.resize(fibers);
  m.shared_apart = (shared + kVectorBytes - 1) / kVectorBytes * kVectorBytes;
  m.shared.resize(cluster * m.shared_apart + kVectorBytes);
  m.slots.resize(2 * (fibers + kWarp) * kMaxExchange);
  const unsigned blocks = grid.x * grid.y * grid.z;
  for (unsigned b = 0; b < blocks; b += cluster) {
    const unsigned first = m.order == Order::Forward ? b : blocks - cluster - b;
    poison(m.shared);
    for (unsigned i = 0; i < fibers; ++i) {
      const unsigned at = first + i / (block.x * block.y * block.z);
      const unsigned u = i % (block.x * block.y * block.z);
      const Extent place = {at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y};
      const Extent thread = {u % block.x, u / block.x % block.y, u / block.x / block.y};
      start(m.fibers[i], static_cast<int>(i),
            {thread, place, block, grid, static_cast<int>(u) % kWarp});
    }
    run_cluster();
  }
}

void sync_threads() {
  back_to_scheduler(State::AtBlockBarrier);
}

void sync_warp() {
  back_to_scheduler(State::AtWarpBarrier);
}

void sync_cluster() {
  back_to_scheduler(State::AtClusterBarrier);
}

std::byte* dynamic_shared() {
  return shared_of(rank_of_running());
}

const void* shared_of_block(const void* mine, int rank) {
  return shared_of(rank) + (static_cast<const std::byte*>(mine) - dynamic_shared());
}

const std::byte* exchange_slots(const void* mine, std::size_t bytes) {
  Machine& m = machine();
  const auto index = m.running->index;
  const auto half = m.running->exchanges++ % 2 * (m.slots.size() / 2);
  std::byte* warp =
      m.slots.data() + half + static_cast<std::size_t>(index / kWarp * kWarp) * kMaxExchange;
  std::memcpy(warp + static_cast<std::size_t>(index % kWarp) * kMaxExchange, mine, bytes);
  sync_warp();
  return warp;
}

// On hardware a copy lands at any time before it is waited for: here at the last moment, or, with
// threads backward, at the first.
void copy_later(void* to, const void* from, std::size_t bytes) {
  const Copy copy = {to, from, bytes};
  if (machine().order == Order::Backward) return land(copy);
  machine().running->open.push_back(copy);
}

void commit_copies() {
  Fiber& fiber = *machine().running;
  fiber.groups.push_back(std::move(fiber.open));
  fiber.open.clear();
}

void wait_copies(int left) {
  Fiber& fiber = *machine().running;
  while (fiber.groups.size() > static_cast<std::size_t>(left)) {
    for (const Copy& copy : fiber.groups.front()) land(copy);
    fiber.groups.pop_front();
  }
}

}  // namespace dfengine::cuda::emulated
