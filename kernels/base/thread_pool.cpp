#include "kernels/base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "kernels/base/cpu_quota.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

// Layers follow each other within microseconds, so a waiting thread first spins (some tens of
// microseconds): waking a sleeping thread costs more than a small layer takes. Longer spinning
// would only take the core from whoever has work on a busy machine.
constexpr int kSpins = 2000;

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Those that this process may run on, that of the calling thread first; empty where the system does
// not say.
std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cpus;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &set)) cpus.push_back(i);
  const auto own = std::ranges::find(cpus, sched_getcpu());
  if (own != cpus.end()) std::iter_swap(cpus.begin(), own);
  return cpus;
}

// Where the system refuses, the thread goes on as before.
void keep_to(std::thread& thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(thread.native_handle(), sizeof(set), &set);
}

std::atomic<unsigned> forks{0};

// How many forks lie between the first process and this one. Counted in each child, which costs
// run() nothing; asking the system for the process' id costs as much as a small task.
unsigned forks_so_far() {
  [[maybe_unused]] static const bool counts = [] {
    if (pthread_atfork(nullptr, nullptr, [] { ++forks; }) != 0) throw std::bad_alloc();
    return true;
  }();
  return forks;
}

}  // namespace

ThreadPool::ThreadPool(int threads)
    : shares_(threads < 1 ? throw UsageError("thread count must be at least 1")
                          : static_cast<std::size_t>(threads)),
      crew_(threads == 1 ? nullptr : std::make_unique<Crew>()),
      forks_(forks_so_far()) {
  if (!crew_) return;
  std::vector<int> cpus = allowed_cpus();
  if (std::ssize(cpus) == threads) cpus_ = std::move(cpus);
  crew_->threads.reserve(static_cast<std::size_t>(threads - 1));
  start();
}

// No exception may leave workers behind that run in half a pool.
void ThreadPool::start() {
  try {
    for (int i = 1; i < size(); ++i) crew_->threads.emplace_back([this, i] { work(i); });
  } catch (const std::system_error& e) {
    stop();
    throw Error("cannot start " + std::to_string(size()) + " threads: " + e.what());
  } catch (...) {
    stop();
    throw;
  }
  for (std::size_t i = 1; i < cpus_.size(); ++i) keep_to(crew_->threads[i - 1], cpus_[i]);
}

bool ThreadPool::has_workers() const {
  return crew_ != nullptr && forks_ == forks;
}

void ThreadPool::make_way() {
  const auto own = std::ranges::find(cpus_, sched_getcpu());
  if (own == cpus_.begin() || own == cpus_.end()) return;
  std::iter_swap(cpus_.begin(), own);
  keep_to(crew_->threads[static_cast<std::size_t>(own - cpus_.begin()) - 1], *own);
}

ThreadPool::~ThreadPool() {
  if (has_workers()) {
    stop();
  } else {
    static_cast<void>(crew_.release());  // a child of fork() leaves its parent's workers alone
  }
}

void ThreadPool::stop() {
  {
    std::lock_guard lock(crew_->mutex);
    stop_ = true;
  }
  crew_->wake.notify_all();
  for (std::thread& t : crew_->threads) t.join();
}

int ThreadPool::available() {
  int threads = static_cast<int>(allowed_cpus().size());
  if (threads == 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, std::min(threads, cpu_quota().value_or(threads)));
}

void ThreadPool::run(std::int64_t count, Task task, void* context) {
  if (count <= 0) return;
  if (count == 1 || !has_workers()) {
    for (std::int64_t i = 0; i < count; ++i) task(context, i, 0);
    return;
  }
  if (!cpus_.empty()) make_way();
  task_ = task;
  context_ = context;
  unfinished_.store(count, std::memory_order_relaxed);
  for (std::int64_t i = 0; i < size(); ++i) {
    Share& share = shares_[static_cast<std::size_t>(i)];
    const std::int64_t begin = count * i / size();
    share.end = count * (i + 1) / size();
    share.untaken.store(share.end - begin, std::memory_order_release);
  }
  {
    std::lock_guard lock(crew_->mutex);
    runs_.fetch_add(1, std::memory_order_release);
  }
  crew_->wake.notify_all();
  drain(0);
  // A worker that took nothing is not waited for: the system may have given its core to others.
  for (int spins = 0; unfinished_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins) {
      pause_cpu();
    } else {
      std::this_thread::yield();
    }
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadPool::drain(int worker) {
  for (int i = 0; i < size(); ++i)
    take_from(shares_[static_cast<std::size_t>((worker + i) % size())], worker);
}

void ThreadPool::take_from(Share& share, int worker) {
  std::int64_t untaken = share.untaken.load(std::memory_order_acquire);
  while (untaken > 0) {
    if (!share.untaken.compare_exchange_weak(untaken, untaken - 1, std::memory_order_acq_rel,
                                             std::memory_order_acquire))
      continue;
    // Only who has taken an index may read these: then run() waits, and does not change them.
    const std::int64_t index = share.end - untaken;
    try {
      task_(context_, index, worker);
    } catch (...) {
      keep_error(index);
    }
    unfinished_.fetch_sub(1, std::memory_order_release);
    untaken = share.untaken.load(std::memory_order_acquire);
  }
}

// Of the lowest index, so that who throws first does not decide what is said.
void ThreadPool::keep_error(std::int64_t index) {
  const std::lock_guard lock(crew_->mutex);
  if (error_ && error_at_ < index) return;
  error_ = std::current_exception();
  error_at_ = index;
}

void ThreadPool::work(int worker) {
  std::uint64_t seen = 0;
  const auto called = [&] { return stop_ || runs_.load(std::memory_order_acquire) != seen; };
  for (;;) {
    for (int spins = 0; !called(); ++spins) {
      if (spins < kSpins) {
        pause_cpu();
        continue;
      }
      std::unique_lock lock(crew_->mutex);
      crew_->wake.wait(lock, called);
    }
    if (stop_) return;
    seen = runs_.load(std::memory_order_acquire);
    drain(worker);
  }
}

}  // namespace dfengine
