// What the device code of a library without CUDA is linked with: plans can be made, kernels chosen
// by the rule, but no device answers. Tests link the stand-in (emulated/) in its place.
#include "kernels/base/error.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/emulated/emulator.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/tuning/libraries.h"

namespace dfengine::cuda {
namespace {

[[noreturn]] void absent() {
  throw DeviceError("no CUDA in this build: rebuild with --preset cuda");
}

}  // namespace

bool available() {
  return false;
}
bool is_emulated() {
  return false;
}
std::string device_summary() {
  absent();
}

struct Libraries::Handles {};
Libraries::Libraries() = default;
Libraries::~Libraries() = default;
std::vector<LibraryKernel> Libraries::pointwise(PointwisePass, StorageType,
                                                const PointwiseProblem&) {
  return {};
}
std::vector<LibraryKernel> Libraries::stem(StorageType, const StemProblem&) {
  return {};
}

// Nothing was ever made that could be freed.
void FreeDevice::operator()(void*) const {}
void FreePinned::operator()(void*) const {}
void DestroyStream::operator()(Stream) const {}
void DestroyEvent::operator()(CUevent_st*) const {}
void DestroyGraph::operator()(CUgraphExec_st*) const {}

DeviceMemory allocate_device(Index) {
  absent();
}
Index device_memory_in_use() {
  return 0;
}
PinnedMemory allocate_pinned(Index) {
  absent();
}
OwnedStream make_stream() {
  absent();
}
OwnedEvent make_event() {
  absent();
}
void synchronize(Stream) {
  absent();
}
void synchronize(const OwnedEvent&) {
  absent();
}
void record(const OwnedEvent&, Stream) {
  absent();
}
void wait_for(Stream, const OwnedEvent&) {
  absent();
}
float elapsed_ms(const OwnedEvent&, const OwnedEvent&) {
  absent();
}
void upload(Stream, void*, const void*, Index) {
  absent();
}
void download(Stream, void*, const void*, Index) {
  absent();
}
void copy_on_device(Stream, void*, const void*, Index) {
  absent();
}
OwnedGraph capture(Stream, const std::function<void()>&) {
  absent();
}
void run(const OwnedGraph&, Stream) {
  absent();
}

namespace emulated {

const Thread& current() {
  absent();
}
void submit(std::function<void()>) {
  absent();
}
void run(Extent, Extent, std::size_t, const std::function<void()>&) {
  absent();
}
void sync_threads() {
  absent();
}
void sync_warp() {
  absent();
}
std::byte* dynamic_shared() {
  absent();
}
const std::byte* exchange_slots(const void*, std::size_t) {
  absent();
}
void copy_later(void*, const void*, std::size_t) {
  absent();
}
void commit_copies() {
  absent();
}
void wait_copies(int) {
  absent();
}

}  // namespace emulated
}  // namespace dfengine::cuda
