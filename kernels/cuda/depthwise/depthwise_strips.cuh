// How kernels that sum over all pixels divide a depthwise convolution: into strips of rows that a
// thread rolls down, and into ranges of strips of which each block sums one.
#pragma once

#include <algorithm>

#include "kernels/cuda/depthwise/depthwise.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {

constexpr int kStripThreads = 256;  // of a block

struct StripWork : DepthwiseSizes {
  int lanes = 0;  // threads of a block that share a group of channels
  int rows = 0;   // of a strip
  unsigned column_tiles = 0, strips = 0;
  unsigned items = 0;  // strips of all images
  unsigned ranges = 0;

  // So many rows, and tiles of columns as wide as a strip, of each image. Throws ShapeError where
  // there are too many strips.
  static StripWork of(const char* name, const DepthwiseProblem& p, int channels_per_thread,
                      Index rows_of_image, Index column_tiles);

  __device__ __forceinline__ unsigned first_item(unsigned range) const {
    return static_cast<unsigned>(Index{range} * items / ranges);
  }
  dim3 grid() const {
    dim3 grid = blocks(channels.tiles);
    grid.y = ranges;
    return grid;
  }
};

// What a thread works on: channels by blockIdx.x, a range by blockIdx.y.
struct StripThread {
  int first_group, width;  // groups of channels of the block
  int group, lane;         // within it
  bool works;

  __device__ __forceinline__ explicit StripThread(const StripWork& work)
      : first_group(static_cast<int>(blockIdx.x) * work.channels.width),
        width(work.channels.groups - first_group < work.channels.width
                  ? work.channels.groups - first_group
                  : work.channels.width),
        group(static_cast<int>(threadIdx.x) % work.channels.width),
        lane(static_cast<int>(threadIdx.x) / work.channels.width),
        works(lane < work.lanes && group < width) {}
};

// Long strips load fewer rows twice; short ones give a small batch enough threads.
inline StripWork StripWork::of(const char* name, const DepthwiseProblem& p, int channels_per_thread,
                               Index rows_of_image, Index column_tiles) {
  // Up to this width in groups of channels, 15 of 16 threads work in every layer of MobileNetV2.
  constexpr int kWidestTile = 64, kLongestStrip = 28;
  // This fills the largest GPU that we know. It is a constant because sums must not depend on the
  // device.
#if defined(__CUDACC__)
  constexpr Index kBlocks = 264, kThreadsToFill = kBlocks * kStripThreads;
#else
  // The stand-in counts as a tiny GPU, so that in tests of small images a thread has several strips
  // of several rows.
  constexpr Index kBlocks = 2, kThreadsToFill = 32;
#endif
  StripWork work{DepthwiseSizes::of(p, channels_per_thread, kWidestTile)};
  work.lanes = kStripThreads / work.channels.width;
  const Index per_strip = p.n * column_tiles;
  Index strips = divide_up(rows_of_image, kLongestStrip);
  while (strips < rows_of_image && per_strip * strips * work.channels.groups < kThreadsToFill)
    strips *= 2;
  work.rows = static_cast<int>(divide_up(rows_of_image, strips));
  strips = divide_up(rows_of_image, work.rows);
  work.column_tiles = static_cast<unsigned>(column_tiles);
  work.strips = static_cast<unsigned>(strips);
  work.items = narrow_count(name, p.n, per_strip * strips);
  const Index most = std::max<Index>(kBlocks / work.channels.tiles, 1);
  work.ranges = static_cast<unsigned>(std::min(most, divide_up(work.items, work.lanes)));
  return work;
}

}  // namespace dfengine::cuda
