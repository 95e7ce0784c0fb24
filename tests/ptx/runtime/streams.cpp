// CUDA's runtime: streams, events and graphs. Where streams are late, work runs when something
// waits for it and no earlier: what the host must not touch yet, or must keep, shows.
#include <algorithm>
#include <limits>
#include <utility>

#include "tests/ptx/runtime/runtime.h"
#include "tests/ptx/settings.h"

struct CUgraph_st {
  std::vector<dfengine::ptx::Work> work;
};
struct CUgraphExec_st {
  std::vector<dfengine::ptx::Work> work;
};

namespace dfengine::ptx {
namespace {

cudaError_t last_error = cudaSuccess;

std::vector<cudaStream_t>& open_streams() {
  static std::vector<cudaStream_t> made;
  return made;
}

}  // namespace

std::unique_lock<std::recursive_mutex> locked() {
  static std::recursive_mutex mutex;
  return std::unique_lock(mutex);
}

cudaError_t remember(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

cudaError_t take_last_error() {
  return std::exchange(last_error, cudaSuccess);
}

void submit(cudaStream_t stream, Work work) {
  if (stream != nullptr && stream->captures) {
    stream->recorded.push_back(std::move(work));
  } else if (stream != nullptr && settings().late_streams) {
    stream->queue.push_back(std::move(work));
    ++stream->queued;
  } else {
    work();
  }
}

void drain(cudaStream_t stream, std::uint64_t upto) {
  while (stream->done < upto && !stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    ++stream->done;
    work();
  }
}

void drain(cudaStream_t stream) {
  drain(stream, std::numeric_limits<std::uint64_t>::max());
}

void drain_all() {
  for (const cudaStream_t stream : open_streams()) drain(stream);
}

bool is_open(cudaStream_t stream) {
  return std::find(open_streams().begin(), open_streams().end(), stream) != open_streams().end();
}

}  // namespace dfengine::ptx

using namespace dfengine::ptx;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const auto lock = locked();
  *stream = new CUstream_st;
  open_streams().push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const auto lock = locked();
  drain(stream);
  std::erase(open_streams(), stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const auto lock = locked();
  if (stream == nullptr) return cudaSuccess;
  if (stream->captures) return remember(cudaErrorStreamCaptureUnsupported);
  drain(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const auto lock = locked();
  const cudaStream_t other = event->stream;
  if (other == nullptr || other == stream) return cudaSuccess;
  submit(stream, [other, place = event->place] {
    if (is_open(other)) drain(other, place);
  });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const auto lock = locked();
  drain_all();
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto lock = locked();
  submit(stream, [event] { event->time = std::chrono::steady_clock::now(); });
  event->stream = stream;
  event->place = stream != nullptr ? stream->queued : 0;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const auto lock = locked();
  if (event->stream != nullptr && is_open(event->stream)) drain(event->stream, event->place);
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  *ms = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const auto lock = locked();
  stream->captures = true;
  stream->recorded.clear();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const auto lock = locked();
  stream->captures = false;
  *graph = new CUgraph_st{std::move(stream->recorded)};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  const auto lock = locked();
  drain_all();
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  const auto lock = locked();
  submit(stream, [graph] {
    for (const Work& work : graph->work) work();
  });
  return cudaSuccess;
}

}  // extern "C"
