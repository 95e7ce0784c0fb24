// The tile of dy that the stem's weight gradient works on, in shared memory. A layout says where
// pixel (row, column) of the tile begins, and how many threads a block has.
#pragma once

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/stem/stem.cuh"
#include "kernels/norm_gradient.h"

namespace dfengine::cuda::stem {

// Calls body(place, from, inside, channel) for each of this thread's vectors of a tile of dy: its
// place in shared memory, where it begins in dy, and whether the image has it.
template <class Layout, class Body>
__device__ __forceinline__ void for_each_own_vector(const StemWork& work, const Tile& tile,
                                                    int first_channel, int groups, Body&& body) {
  const Index image = tile.image * work.p * work.q * work.k + first_channel;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile * groups; i += Layout::kThreads) {
    const int channel = i % groups * kVector, pixel = i / groups;
    const int row = pixel / kTile, column = pixel % kTile;
    const int p = tile.p + row, q = tile.q + column;
    const bool inside = p < work.p && q < work.q;
    body(Layout::place(row, column) + channel,
         inside ? image + (Index{p} * work.q + q) * work.k + channel : 0, inside, channel);
  }
}

// to = dy on the tile, with zeros outside the image, once the copies are waited for. dy may be y.
template <class Layout, class T>
__device__ __forceinline__ void load_gradient(const StemWork& work, const Tile& tile,
                                              int first_channel, int groups, const T* dy, T* to) {
  for_each_own_vector<Layout>(work, tile, first_channel, groups,
                              [&](int place, Index from, bool inside, int) {
                                constexpr int kPerCopy = 16 / sizeof(T);
#pragma unroll
                                for (int j = 0; j < kVector; j += kPerCopy)
                                  copy_async16(to + place + j, dy + from + j, inside);
                              });
}

// Gives what this thread copied of dy the last step of its batch norm, rounded as that would have
// stored it. What lies outside the image stays zero. factors: at the block's first channel.
template <class Layout, class T>
__device__ __forceinline__ void take_last_step(const StemWork& work, const Tile& tile,
                                               int first_channel, int groups, const float* factors,
                                               const T* y, T* gradient) {
  for_each_own_vector<Layout>(
      work, tile, first_channel, groups, [&](int place, Index, bool inside, int channel) {
        if (!inside) return;
        float scale[kVector], slope[kVector], offset[kVector], g[kVector], v[kVector];
        load8(factors + channel, scale);
        load8(factors + work.k + channel, slope);
        load8(factors + 2 * work.k + channel, offset);
        load8(gradient + place, g);
        load8(y + place, v);
#pragma unroll
        for (int i = 0; i < kVector; ++i)
          g[i] = fmaf(scale[i], g[i], fmaf(slope[i], v[i], offset[i]));
        store8(gradient + place, g);
      });
}

// A block's range of tiles and its channels. dy and y: tensors [n, p, q, k], y where kGradient says
// that dy has still to take the last step of its batch norm.
template <class T, class Source>
struct GradientTiles {
  Source source;
  const T *y, *dy;
  GradientOnLoad of_norm;
  unsigned tiles_per_block;

  // Calls body() for each tile, while its input and dy lie in shared memory. result: room for y.
  template <int Stride, class Layout, bool kGradient, class V, class Body>
  __device__ __forceinline__ void for_each(const StemWork& work, unsigned range, int first_channel,
                                           int groups, V* input, T* gradient, T* result,
                                           Body&& body) const {
    const unsigned beyond = (range + 1) * tiles_per_block;
    const unsigned end = beyond < work.tiles ? beyond : work.tiles;
    for (unsigned i = range * tiles_per_block; i < end; ++i) {
      const Tile tile = tile_of(work, i);
      __syncthreads();
      load_gradient<Layout>(work, tile, first_channel, groups, dy, gradient);
      if constexpr (kGradient) load_gradient<Layout>(work, tile, first_channel, groups, y, result);
      copy_async_commit();
      load_input<Stride, Layout::kThreads>(work, tile, source, input);
      copy_async_wait<0>();
      if constexpr (kGradient)
        take_last_step<Layout>(work, tile, first_channel, groups, of_norm.factors + first_channel,
                               result, gradient);
      __syncthreads();
      body();
    }
  }
};

}  // namespace dfengine::cuda::stem
