// Weight gradient of the stem on the GPU. First each block sums a fixed range of tiles, where a
// thread owns one row of the window times eight channels, 9 x 8 sums in registers, and one output
// row of each tile. Then ordered_sum adds the blocks.
#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/requirements.cuh"
#include "kernels/cuda/stem/stem.cuh"

namespace dfengine::cuda {
namespace {

using namespace stem;

constexpr int kOwners = 3 * kTileGroups;  // threads that share an output row: window row x group
constexpr int kThreads = kTile * kOwners;
constexpr int kBlocksPerSm = 2;
// This fills the largest GPU that we know. It is a constant because sums must not depend on the
// device.
constexpr Index kBlocks = 264;
// The pixels from one row of dy to the next in shared memory, so that rows begin at different
// banks.
constexpr int kGradientPitch = kTile + 1;
constexpr int kGradientCount = kTile * kGradientPitch * kTileChannels;
// The floats from one sum to the next, so that eight channels times four groups are 32 different
// banks.
constexpr int kSumPitch = kThreads + 4;
constexpr int kSums = 3 * kVector;  // per column of the window

// tensors: how many of dy and y a block holds.
template <int Stride, class T>
constexpr std::size_t shared_bytes(int tensors) {
  return std::max(TileInput<Stride>::kCount * sizeof(float) + tensors * kGradientCount * sizeof(T),
                  kSums * kSumPitch * sizeof(float));
}

// Calls body(place, from, inside, channel) for each of this thread's vectors of a tile of dy: its place in
// [kTile, kGradientPitch, kTileChannels], where it begins in dy, and whether the image has it.
template <class Body>
__device__ __forceinline__ void for_each_own_vector(const StemWork& work, const Tile& tile,
                                                    int first_channel, int groups, Body&& body) {
  const Index image = tile.image * work.p * work.q * work.k + first_channel;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile * groups; i += kThreads) {
    const int channel = i % groups * kVector, pixel = i / groups;
    const int row = pixel / kTile, column = pixel % kTile;
    const int p = tile.p + row, q = tile.q + column;
    const bool inside = p < work.p && q < work.q;
    body((row * kGradientPitch + column) * kTileChannels + channel,
         inside ? image + (Index{p} * work.q + q) * work.k + channel : 0, inside, channel);
  }
}

// to = dy on the tile, with zeros outside the image, once the copies are waited for. dy may be y.
template <class T>
__device__ __forceinline__ void load_gradient(const StemWork& work, const Tile& tile,
                                              int first_channel, int groups, const T* dy, T* to) {
  for_each_own_vector(work, tile, first_channel, groups,
                      [&](int place, Index from, bool inside, int) {
                        constexpr int kPerCopy = 16 / sizeof(T);
#pragma unroll
                        for (int j = 0; j < kVector; j += kPerCopy)
                          copy_async16(to + place + j, dy + from + j, inside);
                      });
}

// Gives what this thread copied of dy the last step of its batch norm, rounded as that would have stored
// it. What lies outside the image stays zero. factors: at the block's first channel.
template <class T>
__device__ __forceinline__ void take_last_step(const StemWork& work, const Tile& tile,
                                               int first_channel, int groups, const float* factors,
                                               const T* y, T* gradient) {
  for_each_own_vector(
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

// sums [s * 3 + c] += one row of the tile's dy times the input under it. input and gradient begin
// at the row. So many outputs at a time read the input at multiples of 16 bytes.
template <int Stride, class T>
__device__ __forceinline__ void add_row(const float* input, const T* gradient,
                                        float (&sums)[9][kVector]) {
  constexpr int kTogether = 4 / Stride;
#pragma unroll 1
  for (int q = 0; q < kTile; q += kTogether) {
    float x[(3 * Stride * (kTogether - 1) + 9 + 3) / 4 * 4];
    load_values(input + 3 * Stride * q, x);
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      float dy[kVector];
      load8(gradient + (q + j) * kTileChannels, dy);
#pragma unroll
      for (int tap = 0; tap < 9; ++tap)
#pragma unroll
        for (int i = 0; i < kVector; ++i)
          sums[tap][i] = fmaf(x[3 * Stride * j + tap], dy[i], sums[tap][i]);
    }
  }
}

// Adds the sums of the block over its output rows and writes them to partials [3, 3, 3, k]. buffer
// [kSums, kSumPitch] holds one column of the window at a time.
__device__ __forceinline__ void reduce_block(const StemWork& work, int first_channel, int groups,
                                             const float (&sums)[9][kVector], float* buffer,
                                             float* partials) {
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int s = 0; s < 3; ++s) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kSums; ++i)
      buffer[i * kSumPitch + thread] = sums[s * 3 + i / kVector][i % kVector];
    __syncthreads();
    for (int out = thread; out < kSums * kOwners; out += kThreads) {
      const int i = out % kVector, owner = out / kVector % kOwners, c = out / kVector / kOwners;
      const int group = owner % kTileGroups, r = owner / kTileGroups;
      if (group >= groups) continue;
      const float* from = buffer + (c * kVector + i) * kSumPitch + owner;
      float sum = 0.0f;
#pragma unroll
      for (int row = 0; row < kTile; ++row) sum += from[row * kOwners];
      partials[((r * 3 + s) * 3 + c) * work.k + first_channel + group * kVector + i] = sum;
    }
  }
}

// x [n, h, w, 3], y and dy [n, p, q, k], partials [ranges, 3, 3, 3, k].
template <int Stride, bool kGradient, class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    stem_weight_kernel(StemWork work, unsigned tiles_per_block, const T* __restrict__ x,
                       const T* __restrict__ y, const T* __restrict__ dy, GradientOnLoad of_norm,
                       float* __restrict__ partials) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(memory);
  auto* const input = reinterpret_cast<float*>(memory);
  auto* const gradient = reinterpret_cast<T*>(input + TileInput<Stride>::kCount);
  T* const result = gradient + kGradientCount;
  const unsigned range = blockIdx.x / work.channel_tiles;
  const int first_channel = static_cast<int>(blockIdx.x % work.channel_tiles) * kTileChannels;
  const int groups = groups_in(work, first_channel);
  const int row = static_cast<int>(threadIdx.x) / kOwners;
  const int r = static_cast<int>(threadIdx.x) % kOwners / kTileGroups;
  const int group = static_cast<int>(threadIdx.x) % kTileGroups;
  float sums[9][kVector] = {};
  const unsigned end =
      (range + 1) * tiles_per_block < work.tiles ? (range + 1) * tiles_per_block : work.tiles;
  for (unsigned i = range * tiles_per_block; i < end; ++i) {
    const Tile tile = tile_of(work, i);
    __syncthreads();
    load_gradient(work, tile, first_channel, groups, dy, gradient);
    if constexpr (kGradient) load_gradient(work, tile, first_channel, groups, y, result);
    copy_async_commit();
    load_input<Stride, kThreads>(work, tile, x, input);
    copy_async_wait<0>();
    if constexpr (kGradient)
      take_last_step(work, tile, first_channel, groups, of_norm.factors + first_channel, result,
                     gradient);
    __syncthreads();
    if (group < groups)
      add_row<Stride>(input + (Stride * row + r) * TileInput<Stride>::kPitch,
                      gradient + row * kGradientPitch * kTileChannels + group * kVector, sums);
  }
  reduce_block(work, first_channel, groups, sums, input, partials + Index{range} * 27 * work.k);
}

unsigned tiles_per_block(const StemWork& work) {
  return static_cast<unsigned>(divide_up(work.tiles, divide_up(kBlocks, work.channel_tiles)));
}

Index ranges(const StemWork& work) {
  return divide_up(work.tiles, tiles_per_block(work));
}

}  // namespace

Index stem_weight_scratch(const StemProblem& p) {
  return ranges(StemWork::of(p)) * 27 * p.k;
}

template <class T>
void stem_backward_weight(Stream stream, const StemProblem& p, const T* x, const T* dy,
                          float* scratch, float* dw, const T* y, const GradientOnLoad& gradient) {
  require_vectors("stem weight gradient", p.k, {dy, y, gradient.factors});
  const StemWork work = StemWork::of(p);
  const bool loads = gradient.present();
  const auto start = [&](auto kernel, std::size_t shared) {
    launch(stream, "stem weight gradient", kernel, blocks(ranges(work) * work.channel_tiles),
           kThreads, shared, work, tiles_per_block(work), x, y, dy, gradient, scratch);
  };
  if (p.stride == 1)
    start(loads ? stem_weight_kernel<1, true, T> : stem_weight_kernel<1, false, T>,
          shared_bytes<1, T>(loads ? 2 : 1));
  else
    start(loads ? stem_weight_kernel<2, true, T> : stem_weight_kernel<2, false, T>,
          shared_bytes<2, T>(loads ? 2 : 1));
  ordered_sum(stream, ranges(work), 27 * p.k, ranges(work), scratch, dw);
}

#define DF_INSTANTIATE(T)                                                                    \
  template void stem_backward_weight(Stream, const StemProblem&, const T*, const T*, float*, \
                                     float*, const T*, const GradientOnLoad&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
