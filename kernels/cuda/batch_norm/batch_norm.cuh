// What batch norm's kernels share: how rows and channels are cut into blocks (a function of the
// shape alone, so that sums are always added in the same order), the sums of a block, and what
// statistics and parameters make of a channel.
#pragma once

#include <algorithm>

#include "kernels/cuda/norm_on_load.cuh"
#include "kernels/cuda/packed.cuh"

namespace dfengine::cuda {

// A block reads `rows` rows of groups * 8 channels: neighbouring threads take neighbouring channel
// groups, `lanes` rows at a time.
struct BatchNormTile {
  static constexpr int kThreads = 256;

  int groups = 0;            // of 8 channels, per block
  int lanes = 0;             // groups * lanes <= kThreads
  Index channel_blocks = 0;  // blocks side by side over the channels
  Index rows = 0;            // per block
  Index chunks = 0;          // blocks over the rows

  // A kernel's registers decide how many blocks a multiprocessor holds at once. All blocks of the
  // grid are to run together: a remainder that runs alone leaves most of the GPU idle.
  static BatchNormTile make(Index m, Index c, int blocks_per_multiprocessor) {
    constexpr Index kMaxGroups = 32;
    // An H100 has 132 multiprocessors; and some rows for every lane.
    constexpr Index kMultiprocessors = 132, kRowsPerLane = 8;
    const Index all = divide_up(c, kVector);
    BatchNormTile tile;
    tile.channel_blocks = divide_up(all, kMaxGroups);
    tile.groups = static_cast<int>(divide_up(all, tile.channel_blocks));
    tile.lanes = kThreads / tile.groups;
    const Index wanted =
        std::max<Index>(1, kMultiprocessors * blocks_per_multiprocessor / tile.channel_blocks);
    const Index most = std::max<Index>(1, m / (tile.lanes * kRowsPerLane));
    tile.rows = divide_up(m, std::min(wanted, most));
    tile.chunks = divide_up(m, tile.rows);
    return tile;
  }
};

constexpr int kBatchNormThreads = BatchNormTile::kThreads;
// Blocks per multiprocessor of the kernels that read x, and of those that read dy beside it.
constexpr int kBatchNormForwardBlocks = 4, kBatchNormBackwardBlocks = 3;
// Lanes of the merging block that share one channel's chunks.
constexpr int kBatchNormMergeLanes = 32;
constexpr int kBatchNormMergeChannels = kBatchNormThreads / kBatchNormMergeLanes;

inline dim3 batch_norm_grid(const BatchNormTile& tile) {
  return {static_cast<unsigned>(tile.chunks), static_cast<unsigned>(tile.channel_blocks), 1};
}

// Adds up the lanes of each channel group in a fixed order. v holds `Sums` values per channel, and
// the sums of the block go to out[value][channel of the tensor].
template <int Sums>
__device__ void write_block_sums(const BatchNormTile& tile, const float (&v)[Sums][kVector],
                                 Index c, float* out) {
  __shared__ float shared[kBatchNormThreads * kVector];
  const int group = static_cast<int>(threadIdx.x) % tile.groups;
  const int lane = static_cast<int>(threadIdx.x) / tile.groups;
  const int channels = tile.groups * kVector;
  const Index first_channel = Index{blockIdx.y} * channels;
#pragma unroll
  for (int sum = 0; sum < Sums; ++sum) {
    __syncthreads();
    if (lane < tile.lanes) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) shared[lane * channels + group * kVector + i] = v[sum][i];
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < channels; i += kBatchNormThreads) {
      if (first_channel + i >= c) continue;
      float total = 0.0f;
      for (int l = 0; l < tile.lanes; ++l) total += shared[l * channels + i];
      out[sum * c + first_channel + i] = total;
    }
  }
}

// Rows and channels of this thread.
struct BatchNormPlace {
  Index row, end, step, channel;
  bool active;
};

__device__ __forceinline__ BatchNormPlace batch_norm_place(const BatchNormTile& tile, Index m,
                                                           Index c) {
  const int lane = static_cast<int>(threadIdx.x) / tile.groups;
  const Index first = Index{blockIdx.x} * tile.rows;
  const Index end = first + tile.rows < m ? first + tile.rows : m;
  const Index channel =
      (Index{blockIdx.y} * tile.groups + static_cast<int>(threadIdx.x) % tile.groups) * kVector;
  return {.row = first + lane,
          .end = end,
          .step = tile.lanes,
          .channel = channel,
          .active = lane < tile.lanes && channel < c};
}

// Calls use(row, load(row)) for each row of this thread. The loads of two rows are under way
// together where a row takes 16 bytes; floats take 32, and the registers do not hold two rows.
template <class T, class Load, class Use>
__device__ __forceinline__ void for_each_row(const BatchNormPlace& at, Load&& load, Use&& use) {
  Index row = at.row;
  if constexpr (sizeof(T) == 2) {
    for (; row + at.step < at.end; row += 2 * at.step) {
      const auto first = load(row), second = load(row + at.step);
      use(row, first);
      use(row + at.step, second);
    }
  }
  for (; row < at.end; row += at.step) use(row, load(row));
}

// Calls use(chunk, load(chunk)) for each of this lane's chunks, in order. So few threads would wait
// for every load by itself; several are under way together.
template <class Load, class Use>
__device__ __forceinline__ void for_each_chunk(Index chunks, int lane, Load&& load, Use&& use) {
  constexpr int kAhead = 8;
  for (Index first = lane; first < chunks; first += kAhead * kBatchNormMergeLanes) {
    decltype(load(first)) loaded[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const Index chunk = first + i * kBatchNormMergeLanes;
      loaded[i] = load(chunk < chunks ? chunk : 0);
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const Index chunk = first + i * kBatchNormMergeLanes;
      if (chunk < chunks) use(chunk, loaded[i]);
    }
  }
}

// The channel of a warp of a merging block. Where there is none its lanes still take part, with
// `safe`.
struct WarpChannel {
  int lane;
  Index channel, safe;
  __device__ explicit WarpChannel(Index c)
      : lane(static_cast<int>(threadIdx.x) % kBatchNormMergeLanes),
        channel(Index{blockIdx.x} * kBatchNormMergeChannels +
                static_cast<int>(threadIdx.x) / kBatchNormMergeLanes),
        safe(channel < c ? channel : c - 1) {}
  __device__ bool writes(Index c) const { return lane == 0 && channel < c; }
};

// The sums of g and of g * (x - mean) of a channel over chunks, [chunks, 2, C]: each lane adds its
// own, then the lanes add theirs in a tree.
struct PairOfSums {
  float g, g_deviation;
};
__device__ __forceinline__ PairOfSums add_chunks(const float* sums, Index chunks, Index c,
                                                 const WarpChannel& at) {
  PairOfSums all = {0.0f, 0.0f};
  for_each_chunk(
      chunks, at.lane,
      [&](Index chunk) -> PairOfSums {
        const float* const of_chunk = sums + chunk * 2 * c + at.safe;
        return {of_chunk[0], of_chunk[c]};
      },
      [&](Index, const PairOfSums& pair) {
        all.g += pair.g;
        all.g_deviation += pair.g_deviation;
      });
  return {warp_sum(all.g), warp_sum(all.g_deviation)};
}

// A row of x and its gradient.
template <class T>
struct GradientRow {
  Packed<T> x, g;
};

// What stands beside the mean: the rstd that was saved, or the running variance.
enum class Second { Rstd, Variance };

template <Second second>
__device__ __forceinline__ float rstd_of(float spread, float eps) {
  return second == Second::Rstd ? spread : 1.0f / sqrtf(spread + eps);
}

// y = act(x * scale + shift) for this thread's channels; forward and backward compute the very
// same value, so that they agree on what the activation clipped.
template <Second second>
struct Channels {
  float mean[kVector], rstd[kVector], scale[kVector], shift[kVector];

  __device__ Channels(Index first, float eps, const float* gamma, const float* beta,
                      const float* means, const float* spreads) {
    float g[kVector], b[kVector];
    load8(gamma + first, g);
    load8(beta + first, b);
    load8(means + first, mean);
    load8(spreads + first, rstd);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      rstd[i] = rstd_of<second>(rstd[i], eps);
      const ScaleShift norm = scale_shift(g[i], b[i], mean[i], rstd[i]);
      scale[i] = norm.scale;
      shift[i] = norm.shift;
    }
  }
  __device__ float value(int i, float x) const {
    return normalised(x, scale[i], shift[i]);
  }
};

}  // namespace dfengine::cuda
