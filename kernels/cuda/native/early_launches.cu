#include "kernels/cuda/native/early_launches.cuh"

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/platform.cuh"
#include "kernels/cuda/runtime.h"

namespace dfengine::cuda {
namespace {

constexpr int kCells = 64, kThreads = 128, kLinks = 32, kRounds = 7;
constexpr Index kBytes = kCells * Index{sizeof(int)};

// Each block needs what another block of the kernel before has written.
__global__ void __launch_bounds__(kThreads) link_kernel(const int* from, int* to) {
  await_previous_kernels();
  if (threadIdx.x == 0) to[blockIdx.x] = from[(blockIdx.x + 1) % kCells] + 1;
}

// A row of kLinks kernels, captured, with a copy in their midst as steps have them.
class Row {
 public:
  Row(Stream stream, bool early)
      : stream_(stream), cells_(allocate_device(3 * kBytes)), graph_(capture(stream, [&] {
          auto* const cells = static_cast<int*>(cells_.get());
          for (int i = 0; i < kLinks; ++i) {
            const int* from = cells + i % 2 * kCells;
            int* const to = cells + (i + 1) % 2 * kCells;
            if (i == kLinks / 2) {
              copy_on_device(stream, cells + 2 * kCells, from, kBytes);
              from = cells + 2 * kCells;
            }
            launch_with(stream, "link of a row", {early}, link_kernel, dim3(kCells), kThreads, 0,
                        from, to);
          }
        })) {}

  double microseconds() {
    const OwnedEvent from = make_event(), to = make_event();
    record(from, stream_);
    run(graph_, stream_);
    record(to, stream_);
    synchronize(to);
    ++rounds_;
    return 1e3 * static_cast<double>(elapsed_ms(from, to)) / kLinks;
  }

  // Each link adds one to all cells.
  bool is_right() const {
    std::vector<int> cells(kCells);
    download(stream_, cells.data(), cells_.get(), kBytes);
    synchronize(stream_);
    return std::ranges::all_of(cells, [&](int cell) { return cell == rounds_ * kLinks; });
  }

 private:
  Stream stream_;
  DeviceMemory cells_;
  OwnedGraph graph_;
  int rounds_ = 0;
};

LaunchTimes measure() try {
  if (!has_clusters()) return {};
  cudaStream_t made = nullptr;
  check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  const OwnedStream stream(made);
  // The first launch loads the kernel, which a capture must not do.
  const DeviceMemory cells = allocate_device(2 * kBytes);
  auto* const first = static_cast<int*>(cells.get());
  launch_with(made, "link of a row", {}, link_kernel, dim3(kCells), kThreads, 0, first,
              first + kCells);
  synchronize(made);
  Row plain(made, false), early(made, true);
  std::array<double, kRounds> of_plain{}, of_early{};
  for (int i = 0; i < kRounds; ++i) {
    of_plain[static_cast<std::size_t>(i)] = plain.microseconds();
    of_early[static_cast<std::size_t>(i)] = early.microseconds();
  }
  if (!plain.is_right() || !early.is_right()) return {};
  return {.plain = *std::ranges::min_element(of_plain),
          .early = *std::ranges::min_element(of_early)};
} catch (const DeviceError&) {  // this driver does not take such launches into a graph
  return {};
}

}  // namespace

const LaunchTimes& launch_times() {
  static const LaunchTimes times = measure();
  return times;
}

bool launches_early() {
  static const bool early = launch_times().early < launch_times().plain;
  return early;
}

}  // namespace dfengine::cuda
