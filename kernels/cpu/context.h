// What every CPU kernel is handed besides its data.
#pragma once

#include "kernels/base/thread_pool.h"

namespace dfengine::cpu {

// Results of all kernels are independent of the number of threads: work is split by shape alone,
// and partial sums are added in a fixed order.
struct Context {
  ThreadPool& pool;
};

}  // namespace dfengine::cpu
