// What the device code of a library without CUDA is linked with: plans can be made, kernels chosen
// by the rule, but nothing runs. Tests link the stand-in (emulated/) in its place.
#include "kernels/cuda/absent/no_device.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/device_ranks.h"
#include "kernels/cuda/emulated/emulator.h"
#include "kernels/cuda/runtime.h"

namespace dfengine::cuda {

bool is_emulated() {
  return false;
}

// Nothing was ever made that could be freed.
void FreeDevice::operator()(void*) const {}
void FreePinned::operator()(void*) const {}
void DestroyStream::operator()(Stream) const {}
void DestroyEvent::operator()(CUevent_st*) const {}
void DestroyGraph::operator()(CUgraphExec_st*) const {}

DeviceMemory allocate_device(Index) {
  no_device();
}
Index device_memory_in_use() {
  return 0;
}
PinnedMemory allocate_pinned(Index) {
  no_device();
}
OwnedStream make_stream() {
  no_device();
}
OwnedEvent make_event() {
  no_device();
}
void synchronize(Stream) {
  no_device();
}
void synchronize(const OwnedEvent&) {
  no_device();
}
void record(const OwnedEvent&, Stream) {
  no_device();
}
void wait_for(Stream, const OwnedEvent&) {
  no_device();
}
float elapsed_ms(const OwnedEvent&, const OwnedEvent&) {
  no_device();
}
void upload(Stream, void*, const void*, Index) {
  no_device();
}
void download(Stream, void*, const void*, Index) {
  no_device();
}
void copy_on_device(Stream, void*, const void*, Index) {
  no_device();
}
OwnedGraph capture(Stream, const std::function<void()>&) {
  no_device();
}
void run(const OwnedGraph&, Stream) {
  no_device();
}

std::string new_meeting() {
  no_device();
}
struct DeviceRanks::Joined {};
DeviceRanks::DeviceRanks(const std::string&, int, int) {
  no_device();
}
DeviceRanks::~DeviceRanks() = default;
void DeviceRanks::gather(Stream, Index, const void*, void*) const {
  no_device();
}
void DeviceRanks::sum(Stream, Index, float*) const {
  no_device();
}
void DeviceRanks::sum(Stream, Index, double*) const {
  no_device();
}

namespace emulated {

const Thread& current() {
  no_device();
}
void submit(std::function<void()>) {  // NOLINT: the stand-in keeps it
  no_device();
}
void run(Extent, Extent, std::size_t, const std::function<void()>&, unsigned) {
  no_device();
}
void sync_threads() {
  no_device();
}
void sync_warp() {
  no_device();
}
void sync_cluster() {
  no_device();
}
std::byte* dynamic_shared() {
  no_device();
}
const void* shared_of_block(const void*, int) {
  no_device();
}
const std::byte* exchange_slots(const void*, std::size_t) {
  no_device();
}
void copy_later(void*, const void*, std::size_t) {
  no_device();
}
void commit_copies() {
  no_device();
}
void wait_copies(int) {
  no_device();
}

}  // namespace emulated
}  // namespace dfengine::cuda
