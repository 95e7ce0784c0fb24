// What the CUDA runtime's entry points share: streams as queues, and the one lock.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <deque>
#include <functional>
#include <mutex>

#include "tests/ptx/machine.h"

namespace dfengine::ptx {

using Work = std::function<void()>;

// Every entry point takes it; kernels run under it.
std::unique_lock<std::recursive_mutex> locked();

// Remembers a failure for cudaGetLastError.
cudaError_t remember(cudaError_t status);
cudaError_t take_last_error();

// Records the work where the stream is captured; queues it where streams are late; else does it.
// The default stream waits for nobody here and is waited for by nobody: its work is done at once.
void submit(cudaStream_t stream, Work work);
// Does what is queued, up to work number `upto` of the stream.
void drain(cudaStream_t stream, std::uint64_t upto);
void drain(cudaStream_t stream);
void drain_all();
bool is_open(cudaStream_t stream);

}  // namespace dfengine::ptx

// CUDA declares these two and leaves them to whoever implements the runtime.
struct CUstream_st {
  bool captures = false;
  std::vector<dfengine::ptx::Work> recorded;
  std::deque<dfengine::ptx::Work> queue;
  std::uint64_t done = 0, queued = 0;
};
struct CUevent_st {
  std::chrono::steady_clock::time_point time;
  CUstream_st* stream = nullptr;  // where it was recorded last, behind so much work
  std::uint64_t place = 0;
};
