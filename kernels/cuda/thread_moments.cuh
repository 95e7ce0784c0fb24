// The moments of the channels that a block stores (kernels/channel_moments.h), where each thread
// stores a few channels of one pixel after the other. They lie in shared memory, because what such
// threads have under way takes all registers; at the end the block merges them to those of one
// part.
#pragma once

#include "kernels/channel_moments.h"
#include "kernels/cuda/moments.cuh"
#include "kernels/cuda/packed.cuh"

namespace dfengine::cuda {

// In shared memory. A thread settles one run of pixels after the other. Squares are taken around
// the mean of the runs before, in the first run around the first value: with s and q the sums of d
// = v - mean and of d^2 over a run, and N values with it, the mean moves by s / N and the squares
// around it by q - s^2 / N.
template <int Threads, int Channels>
struct SettledMoments {
  static constexpr int kQuads = Channels / 4;
  // Of the runs before.
  float4 means[kQuads][Threads], squares[kQuads][Threads];
  float counts[Threads];  // of a channel's values in the runs before

  __device__ __forceinline__ void clear() {
    const unsigned t = threadIdx.x;
    counts[t] = 0.0f;
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) squares[quad][t] = {0.0f, 0.0f, 0.0f, 0.0f};
  }

  // Before a thread's first pixel.
  __device__ __forceinline__ void start(const float (&v)[Channels]) {
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad)
      means[quad][threadIdx.x] = {v[4 * quad], v[4 * quad + 1], v[4 * quad + 2], v[4 * quad + 3]};
  }

  // Ends a run for four channels: s and q are its sums, count how many values there are with it.
  __device__ __forceinline__ void settle_quad(int quad, const float4& s, const float4& q,
                                              float count) {
    const unsigned t = threadIdx.x;
    const float share = 1.0f / count;
    const float4 mean = means[quad][t], m2 = squares[quad][t];
    const float4 moved = {s.x * share, s.y * share, s.z * share, s.w * share};
    means[quad][t] = {mean.x + moved.x, mean.y + moved.y, mean.z + moved.z, mean.w + moved.w};
    squares[quad][t] = {m2.x + fmaf(-s.x, moved.x, q.x), m2.y + fmaf(-s.y, moved.y, q.y),
                        m2.z + fmaf(-s.z, moved.z, q.z), m2.w + fmaf(-s.w, moved.w, q.w)};
  }

  // Writes the block's part, whose first channel is `channel` of c. Threads t, t + width, ... have
  // the same channels; `lists` of them are merged in their order.
  __device__ __forceinline__ void write_part(int width, int lists, int channel, int c,
                                             float* part) const {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < width * Channels; i += Threads) {
      const int at = channel + i, first = i / Channels, quad = i % Channels / 4;
      if (at >= c) continue;
      Moments all = {0.0f, 0.0f, 0.0f};
      for (int t = first; t < first + lists * width; t += width) {
        const auto value = [&](const float4& of) {
          return reinterpret_cast<const float*>(&of)[i % 4];
        };
        all = merge(all, {counts[t], value(means[quad][t]), value(squares[quad][t])});
      }
      if (at == 0) part[0] = all.n;
      float* const of_channel = part + ChannelMoments::kHead + at;
      of_channel[0] = all.mean;
      of_channel[c] = all.m2;
    }
  }
};

// The same where the current run's sums lie in shared memory too.
template <int Threads, int Channels>
struct ThreadMoments : SettledMoments<Threads, Channels> {
  using Settled = SettledMoments<Threads, Channels>;
  using Settled::counts;
  using Settled::kQuads;
  using Settled::means;
  float4 run_sums[kQuads][Threads], run_squares[kQuads][Threads];

  __device__ __forceinline__ void clear() {
    Settled::clear();
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad)
      run_sums[quad][threadIdx.x] = run_squares[quad][threadIdx.x] = {0.0f, 0.0f, 0.0f, 0.0f};
  }

  // Adds the first `valid` of some pixels.
  template <int Pixels>
  __device__ __forceinline__ void add(const float (&v)[Pixels][Channels], int valid) {
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) {
      const float4 mean = means[quad][threadIdx.x];
      float4 s = run_sums[quad][threadIdx.x], q = run_squares[quad][threadIdx.x];
#pragma unroll
      for (int j = 0; j < Pixels; ++j) {
        if (j >= valid) continue;
        const float* const of_pixel = v[j] + 4 * quad;
        const float4 d = {of_pixel[0] - mean.x, of_pixel[1] - mean.y, of_pixel[2] - mean.z,
                          of_pixel[3] - mean.w};
        s = {s.x + d.x, s.y + d.y, s.z + d.z, s.w + d.w};
        q = {fmaf(d.x, d.x, q.x), fmaf(d.y, d.y, q.y), fmaf(d.z, d.z, q.z), fmaf(d.w, d.w, q.w)};
      }
      run_sums[quad][threadIdx.x] = s;
      run_squares[quad][threadIdx.x] = q;
    }
  }

  // Ends a run of so many pixels, at least one.
  __device__ __forceinline__ void settle(int pixels) {
    const unsigned t = threadIdx.x;
    counts[t] += static_cast<float>(pixels);
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) {
      this->settle_quad(quad, run_sums[quad][t], run_squares[quad][t], counts[t]);
      run_sums[quad][t] = run_squares[quad][t] = {0.0f, 0.0f, 0.0f, 0.0f};
    }
  }
};

}  // namespace dfengine::cuda
