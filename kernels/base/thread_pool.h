// A fixed set of threads that run a range of indices together.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace dfengine {

// run() splits [0, count) over the pool, and the calling thread takes part. Each thread begins with
// a share of neighbouring indices, the same one for the same count, so that what it computed for
// one layer lies in its own cache for the next; then it helps the others. Indices are handed out
// one at a time, so a task must be large enough to pay for an atomic operation (microseconds, not
// nanoseconds), and results must not depend on which worker runs which index. Only one thread may
// call run() at a time. Tasks must not call run() on the same pool.
//
// A child of fork() has none of the threads: there a pool of its parent runs everything on the
// thread that calls, and can be destroyed, as long as no thread was in run() when the process
// forked.
class ThreadPool {
 public:
  // A task is called as task(context, index, worker) with 0 <= worker < size().
  using Task = void (*)(void* context, std::int64_t index, int worker);

  // `threads` counts the caller, so that 1 starts no thread. With as many as there are CPUs for
  // this process, each worker keeps to one where the caller is not. Throws UsageError for 0 or
  // less, and Error when the system does not give so many; no thread is left then.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(shares_.size()); }
  // Of what tasks throw, that of the lowest index comes out when all that began have ended.
  void run(std::int64_t count, Task task, void* context);

  // The number of hardware threads that this process may use, at least 1: those it may run on, and
  // no more than its container's CPU quota.
  static int available();
  // The thread count that a user's --threads means: 0 stands for available().
  static int count_for(int wanted) { return wanted > 0 ? wanted : available(); }

 private:
  // On cache lines of their own, since threads take from them all the time.
  struct alignas(64) Share {
    std::atomic<std::int64_t> untaken{0};
    std::int64_t end = 0;  // The next index is end - untaken.
  };
  // The workers and what they wait with. Apart from the pool, because a child of fork() can only
  // leave it alone: joining, detaching and destroying all wait for, or change, threads that it
  // lacks.
  struct Crew {
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::condition_variable wake;
  };

  bool has_workers() const;
  void start();
  void stop();
  void make_way();
  void work(int worker);
  void drain(int worker);
  void take_from(Share& share, int worker);
  void keep_error(std::int64_t index);

  std::vector<Share> shares_;   // one for each thread
  std::unique_ptr<Crew> crew_;  // none where the caller is alone
  unsigned forks_;              // that this process had behind it when the workers began
  // Where every CPU gets a thread: the caller's, then the workers'. The system wakes a worker
  // beside the thread that calls it, at times on that thread's CPU, where two take turns until it
  // moves one of them, in fractions of a second. So each worker is bound, and gives way to a caller
  // that was moved.
  std::vector<int> cpus_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> runs_{0};                   // begun so far
  alignas(64) std::atomic<std::int64_t> unfinished_{0};  // indices of this run
  Task task_ = nullptr;
  void* context_ = nullptr;
  std::exception_ptr error_;  // of this run
  std::int64_t error_at_ = 0;
};

// Calls body(index, worker) for every index in [0, count).
template <class Body>
void parallel_for(ThreadPool& pool, std::int64_t count, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  pool.run(
      count,
      [](void* context, std::int64_t index, int worker) {
        (*static_cast<Plain*>(context))(index, worker);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace dfengine
