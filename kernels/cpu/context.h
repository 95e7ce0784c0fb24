// What every CPU kernel is handed besides its data.
#pragma once

#include "kernels/base/half.h"
#include "kernels/base/thread_pool.h"

namespace dfengine::cpu {

// Results of all kernels are independent of the number of threads: work is split by shape alone,
// and partial sums are added in a fixed order.
struct Context {
  ThreadPool& pool;
};

}  // namespace dfengine::cpu

// Compiles a kernel, a template of which the contract header has the declaration, for the types of
// parameters, and of activations.
#define DF_FLOAT_AND_DOUBLE(kernel)               \
  template decltype(kernel<float>) kernel<float>; \
  template decltype(kernel<double>) kernel<double>
#define DF_EVERY_ELEMENT(kernel) \
  DF_FLOAT_AND_DOUBLE(kernel);   \
  template decltype(kernel<BFloat16>) kernel<BFloat16>
