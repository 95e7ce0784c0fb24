// kernels/cuda/runtime.h on CUDA.
#include "kernels/cuda/runtime.h"

#include <cuda_runtime_api.h>

#include "kernels/cuda/native/check.cuh"
#include "kernels/cuda/native/early_launches.cuh"

namespace dfengine::cuda {
namespace {

constexpr unsigned kEventFlags = cudaEventDefault;

std::size_t size(Index bytes) {
  return static_cast<std::size_t>(bytes);
}

}  // namespace

// Failures here would hide the error that is being unwound, and the process is ending or the
// context is lost: nothing can be done about them.
void FreeDevice::operator()(void* p) const {
  cudaFree(p);
}
void FreePinned::operator()(void* p) const {
  cudaFreeHost(p);
}
void DestroyStream::operator()(Stream s) const {
  cudaStreamDestroy(s);
}
void DestroyEvent::operator()(CUevent_st* e) const {
  cudaEventDestroy(e);
}
void DestroyGraph::operator()(CUgraphExec_st* g) const {
  cudaGraphExecDestroy(g);
}

DeviceMemory allocate_device(Index bytes) {
  if (bytes == 0) return nullptr;
  void* p = nullptr;
  check(cudaMalloc(&p, size(bytes)), "cudaMalloc");
  DeviceMemory memory(p);
  check(cudaMemset(p, 0, size(bytes)), "cudaMemset");
  // Our streams do not wait for the default stream.
  check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
  return memory;
}

Index device_memory_in_use() {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<Index>(total - free);
}

PinnedMemory allocate_pinned(Index bytes) {
  if (bytes == 0) return nullptr;
  void* p = nullptr;
  check(cudaMallocHost(&p, size(bytes)), "cudaMallocHost");
  return PinnedMemory(p);
}

OwnedStream make_stream() {
  launches_early();  // measured here, because a capture must not be the first to ask
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return OwnedStream(stream);
}

void synchronize(Stream stream) {
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

void upload(Stream stream, void* device, const void* host, Index bytes) {
  check(cudaMemcpyAsync(device, host, size(bytes), cudaMemcpyHostToDevice, stream),
        "cudaMemcpyAsync to the device");
}

void download(Stream stream, void* host, const void* device, Index bytes) {
  check(cudaMemcpyAsync(host, device, size(bytes), cudaMemcpyDeviceToHost, stream),
        "cudaMemcpyAsync from the device");
}

void copy_on_device(Stream stream, void* to, const void* from, Index bytes) {
  check(cudaMemcpyAsync(to, from, size(bytes), cudaMemcpyDeviceToDevice, stream),
        "cudaMemcpyAsync on the device");
}

OwnedEvent make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, kEventFlags), "cudaEventCreateWithFlags");
  return OwnedEvent(event);
}

void record(const OwnedEvent& event, Stream stream) {
  check(cudaEventRecord(event.get(), stream), "cudaEventRecord");
}

void wait_for(Stream stream, const OwnedEvent& event) {
  check(cudaStreamWaitEvent(stream, event.get(), 0), "cudaStreamWaitEvent");
}

void synchronize(const OwnedEvent& event) {
  check(cudaEventSynchronize(event.get()), "cudaEventSynchronize");
}

float elapsed_ms(const OwnedEvent& from, const OwnedEvent& to) {
  float ms = 0;
  check(cudaEventElapsedTime(&ms, from.get(), to.get()), "cudaEventElapsedTime");
  return ms;
}

OwnedGraph capture(Stream stream, const std::function<void()>& body) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  cudaGraph_t graph = nullptr;
  try {
    body();
  } catch (...) {  // the body's own error says more than that of ending here
    if (cudaStreamEndCapture(stream, &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "cudaGraphInstantiate");
  return OwnedGraph(executable);
}

void run(const OwnedGraph& graph, Stream stream) {
  check(cudaGraphLaunch(graph.get(), stream), "cudaGraphLaunch");
}

}  // namespace dfengine::cuda
