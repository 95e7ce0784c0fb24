// kernels/cuda/runtime.h on ordinary memory: what is queued runs at once, in order. Of a device
// there is no more here than in absent/no_device.cpp, which the stand-in shares.
#include "kernels/cuda/runtime.h"

#include <chrono>
#include <cstring>
#include <functional>
#include <new>
#include <vector>

#include "kernels/cuda/context.h"
#include "kernels/cuda/emulated/emulator.h"

namespace dfengine::cuda {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::align_val_t kAlignment{256};

// The graph that is being captured, or null. Captures of several threads do not mix.
using Work = std::vector<std::function<void()>>;
thread_local Work* recording = nullptr;

void* allocate(Index bytes) {
  if (bytes == 0) return nullptr;
  void* p = ::operator new(static_cast<std::size_t>(bytes), kAlignment);
  std::memset(p, 0, static_cast<std::size_t>(bytes));
  return p;
}

Clock::time_point* time_of(CUevent_st* event) {
  return reinterpret_cast<Clock::time_point*>(event);
}

void copy(void* to, const void* from, Index bytes) {
  if (bytes == 0) return;
  emulated::submit([=] { std::memcpy(to, from, static_cast<std::size_t>(bytes)); });
}

}  // namespace

void emulated::submit(std::function<void()> work) {
  if (recording != nullptr) {
    recording->push_back(std::move(work));
  } else {
    work();
  }
}

bool is_emulated() {
  return true;
}

void FreeDevice::operator()(void* p) const {
  ::operator delete(p, kAlignment);
}
void FreePinned::operator()(void* p) const {
  ::operator delete(p, kAlignment);
}
// Streams are only told apart from null; an event is when it was recorded.
void DestroyStream::operator()(Stream s) const {
  delete reinterpret_cast<char*>(s);
}
void DestroyEvent::operator()(CUevent_st* e) const {
  delete time_of(e);
}
void DestroyGraph::operator()(CUgraphExec_st* g) const {
  delete reinterpret_cast<Work*>(g);
}

DeviceMemory allocate_device(Index bytes) {
  return DeviceMemory(allocate(bytes));
}
Index device_memory_in_use() {
  return 0;
}
PinnedMemory allocate_pinned(Index bytes) {
  return PinnedMemory(allocate(bytes));
}
OwnedStream make_stream() {
  return OwnedStream(reinterpret_cast<Stream>(new char));
}
OwnedEvent make_event() {
  return OwnedEvent(reinterpret_cast<CUevent_st*>(new Clock::time_point));
}

void synchronize(Stream) {}
void synchronize(const OwnedEvent&) {}
void record(const OwnedEvent& event, Stream) {
  *time_of(event.get()) = Clock::now();
}
void wait_for(Stream, const OwnedEvent&) {}
float elapsed_ms(const OwnedEvent& from, const OwnedEvent& to) {
  return std::chrono::duration<float, std::milli>(*time_of(to.get()) - *time_of(from.get()))
      .count();
}

void upload(Stream, void* device, const void* host, Index bytes) {
  copy(device, host, bytes);
}
void download(Stream, void* host, const void* device, Index bytes) {
  copy(host, device, bytes);
}
void copy_on_device(Stream, void* to, const void* from, Index bytes) {
  copy(to, from, bytes);
}

OwnedGraph capture(Stream, const std::function<void()>& body) {
  auto work = std::make_unique<Work>();
  recording = work.get();
  try {
    body();
  } catch (...) {
    recording = nullptr;
    throw;
  }
  recording = nullptr;
  return OwnedGraph(reinterpret_cast<CUgraphExec_st*>(work.release()));
}

void run(const OwnedGraph& graph, Stream) {
  for (const auto& work : *reinterpret_cast<Work*>(graph.get())) work();
}

}  // namespace dfengine::cuda
