// Device memory, streams, events and graphs as owned objects. No CUDA header is needed to use them.
// Builds without CUDA have them too, on ordinary memory (emulated/runtime.cpp): that is how the
// CUDA side is tested on machines without a GPU. All throw DeviceError.
#pragma once

#include <functional>
#include <memory>

#include "kernels/base/shape.h"
#include "kernels/cuda/stream.h"

struct CUevent_st;
struct CUgraphExec_st;

namespace dfengine::cuda {

struct FreeDevice {
  void operator()(void* p) const;
};
struct FreePinned {
  void operator()(void* p) const;
};
struct DestroyStream {
  void operator()(Stream s) const;
};
struct DestroyEvent {
  void operator()(CUevent_st* e) const;
};
struct DestroyGraph {
  void operator()(CUgraphExec_st* g) const;
};

// Device memory, zeroed, aligned to 256 bytes; null for 0 bytes.
using DeviceMemory = std::unique_ptr<void, FreeDevice>;
DeviceMemory allocate_device(Index bytes);
// Bytes of the device's memory that all programs together hold; 0 where there is none.
Index device_memory_in_use();
// Host memory that the device copies from and to in the background.
using PinnedMemory = std::unique_ptr<void, FreePinned>;
PinnedMemory allocate_pinned(Index bytes);

using OwnedStream = std::unique_ptr<CUstream_st, DestroyStream>;
OwnedStream make_stream();
void synchronize(Stream stream);

// Copies queue behind what the stream already holds. They do not wait where the host memory is
// pinned; else an upload has read it when it returns, and a download waits until it has written it.
void upload(Stream stream, void* device, const void* host, Index bytes);
void download(Stream stream, void* host, const void* device, Index bytes);
void copy_on_device(Stream stream, void* to, const void* from, Index bytes);

using OwnedEvent = std::unique_ptr<CUevent_st, DestroyEvent>;
OwnedEvent make_event();
void record(const OwnedEvent& event, Stream stream);
// What is queued on the stream later waits for the event.
void wait_for(Stream stream, const OwnedEvent& event);
void synchronize(const OwnedEvent& event);
// Milliseconds between two recorded events that have passed.
float elapsed_ms(const OwnedEvent& from, const OwnedEvent& to);

// A recorded list of launches and copies that runs as one.
using OwnedGraph = std::unique_ptr<CUgraphExec_st, DestroyGraph>;
// What body queues on the stream is recorded and not run. When body throws, the stream is as before
// and what was recorded is gone.
OwnedGraph capture(Stream stream, const std::function<void()>& body);
void run(const OwnedGraph& graph, Stream stream);

}  // namespace dfengine::cuda
