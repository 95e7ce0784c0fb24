// The thread pool runs every index exactly once, again and again, and refuses a senseless size.
#include "kernels/base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

TEST(ThreadPool, EveryIndexRunsOnceOnAValidWorker) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    for (std::int64_t count : {0, 1, 2, 3, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
      std::atomic<int> bad_workers{0};
      parallel_for(pool, count, [&](std::int64_t i, int worker) {
        ++runs[static_cast<std::size_t>(i)];
        if (worker < 0 || worker >= threads) ++bad_workers;
      });
      for (const auto& r : runs) EXPECT_EQ(r.load(), 1);
      EXPECT_EQ(bad_workers.load(), 0);
    }
  }
}

// Plain (not atomic) writes of one run must be seen by the next: what layers rely on.
TEST(ThreadPool, RunsFollowEachOther) {
  ThreadPool pool(3);
  constexpr std::size_t kCount = 64;
  std::vector<int> a(kCount, 0), b(kCount, 0);
  constexpr int kRuns = 100;
  for (int run = 0; run < kRuns; ++run) {
    // Each reads what most likely another worker wrote in the run before.
    parallel_for(pool, kCount, [&](std::int64_t i, int) {
      const auto at = static_cast<std::size_t>(i);
      b[at] = a[kCount - 1 - at] + 1;
    });
    std::swap(a, b);
  }
  for (int value : a) EXPECT_EQ(value, kRuns);
}

// So that a thread finds in its cache what it computed in the run before. In a pool's first run,
// that is: later a thread that still looks for work of the run before may take from any share.
TEST(ThreadPool, EachThreadBeginsWithItsShare) {
  constexpr int kThreads = 3;
  constexpr std::int64_t kShare = 10;
  for (int run = 0; run < 20; ++run) {
    ThreadPool pool(kThreads);
    std::vector<std::int64_t> first(kThreads, -1);
    std::atomic<int> begun{0};
    parallel_for(pool, kThreads * kShare, [&](std::int64_t i, int worker) {
      std::int64_t& mine = first[static_cast<std::size_t>(worker)];
      if (mine >= 0) return;
      mine = i;
      ++begun;
      while (begun < kThreads) std::this_thread::yield();
    });
    for (int t = 0; t < kThreads; ++t) EXPECT_EQ(first[static_cast<std::size_t>(t)], t * kShare);
  }
}

// All that began have ended by then: what they write to is still there.
TEST(ThreadPool, WhatTasksThrowComesOut) {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int run = 0; run < 20; ++run) {
      std::atomic<int> ended{0};
      try {
        parallel_for(pool, 40, [&](std::int64_t i, int) {
          if (i % 10 == 7) throw Error("task " + std::to_string(i));
          ++ended;
        });
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Error& e) {
        EXPECT_STREQ(e.what(), "task 7");
      }
      EXPECT_EQ(ended, threads == 1 ? 7 : 36);
      parallel_for(pool, 40, [&](std::int64_t, int) { ++ended; });
      EXPECT_EQ(ended, threads == 1 ? 47 : 76);
    }
  }
}

// A pool of the parent has no threads in the child, and ending it waits for none.
TEST(ThreadPool, AChildOfForkRunsAlone) {
  auto pool = std::make_unique<ThreadPool>(3);
  const auto sum_of = [&] {
    std::atomic<std::int64_t> sum{0};
    parallel_for(*pool, 100, [&](std::int64_t i, int) { sum += i; });
    return sum.load();
  };
  EXPECT_EQ(sum_of(), 4950);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    const bool right = sum_of() == 4950 && pool->size() == 3;
    pool.reset();
    _exit(right ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << (WIFSIGNALED(status) ? "it waited for ever" : "other sums");
  EXPECT_EQ(sum_of(), 4950);
}

TEST(ThreadPool, RefusesNoThreads) {
  EXPECT_THROW(ThreadPool(0), UsageError);
  EXPECT_THROW(ThreadPool(-1), UsageError);
  EXPECT_GE(ThreadPool::available(), 1);
}

TEST(ThreadPool, ZeroStandsForAllThreads) {
  EXPECT_EQ(ThreadPool::count_for(0), ThreadPool::available());
  EXPECT_EQ(ThreadPool::count_for(3), 3);
}

}  // namespace
}  // namespace dfengine
