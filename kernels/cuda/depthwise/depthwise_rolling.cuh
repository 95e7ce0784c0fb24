// How depthwise convolutions roll down strips of rows: each thread loads each of its input rows
// once, and hands the sums of one row of outputs after the other to what stores them.
#pragma once

#include <algorithm>

#include "kernels/cuda/depthwise/depthwise.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda::depthwise {

constexpr int kThreads = 128;
// Floats that wait in registers need twice the room.
template <class T>
constexpr int kBlocksPerSm = sizeof(T) == 4 ? 3 : 4;
// With four channels a thread has room for the taps as floats and for rows that are still on their
// way from memory.
constexpr int kChannels = 4;
// Output columns per thread.
constexpr int kColumns = 2;
constexpr int kLongestStrip = 14;
#if defined(__CUDACC__)
constexpr Index kThreadsToFill = 132 * 4 * kThreads;
#else
// The stand-in counts as a tiny GPU, so that tests of small images roll over several rows.
constexpr Index kThreadsToFill = 32;
#endif

struct ForwardWork : DepthwiseSizes {
  int rows = 0;  // outputs per strip
  unsigned column_tiles = 0, strips = 0, threads = 0;
  bool reversed = false;
  // Strips of all images, of two columns each.
  Index units(const DepthwiseProblem& problem) const { return problem.n * strips * column_tiles; }
};

// Where one thread works.
struct Place {
  int channel, q, p, rows;
  Index image;
};

// For each column the sums of the outputs of one row.
using Sums = float[kColumns][kChannels];
// The taps of the window in order.
using Taps = float[9][kChannels];

template <class T>
__device__ __forceinline__ void load_taps(const ForwardWork& work, const T* w, int channel,
                                          Taps& taps) {
#pragma unroll
  for (int i = 0; i < 9; ++i)
    unpack(load_packed<kChannels>(w + (work.reversed ? 8 - i : i) * work.c + channel), taps[i]);
}

__device__ __forceinline__ void clear(Sums& sums) {
#pragma unroll
  for (int j = 0; j < kColumns; ++j)
#pragma unroll
    for (int i = 0; i < kChannels; ++i) sums[j][i] = 0.0f;
}

// sums += the products of one row of the window with one row of the input.
template <int Stride, int Inputs>
__device__ __forceinline__ void add_row(const Taps& taps, int window_row,
                                        const float (&x)[Inputs][kChannels], Sums& sums) {
#pragma unroll
  for (int s = 0; s < 3; ++s)
#pragma unroll
    for (int j = 0; j < kColumns; ++j)
#pragma unroll
      for (int i = 0; i < kChannels; ++i)
        sums[j][i] = fmaf(x[j * Stride + s][i], taps[3 * window_row + s][i], sums[j][i]);
}

// In place of a norm.
struct NoNorm {
  __device__ NoNorm(const NormOnLoad&, Index) {}
};

// The rows of the input under one thread's strip. kAhead of them are under way while one is used.
template <class T, class Norm, int Stride, int kAhead>
class Rows {
 public:
  static constexpr int kInputs = (kColumns - 1) * Stride + 3;
  using Floats = float[kInputs][kChannels];

  __device__ __forceinline__ Rows(const ForwardWork& work, const Place& place, const T* x,
                                  const NormOnLoad& norm)
      : norm_(norm, place.channel),
        reader_(x, end(work, place), work.w, work.c, place.p * Stride - work.before_h,
                place.q * Stride - work.before_w) {
#pragma unroll
    for (auto& row : ahead_) reader_.read(true, row);
  }

  // The next row, which lies in this slot: they take turns.
  __device__ __forceinline__ void take(int slot, Floats& x) {
    if constexpr (!std::is_same_v<Norm, NoNorm>)
      reader_.normalise_row(norm_, kAhead - 1, ahead_[slot]);
#pragma unroll
    for (int j = 0; j < kInputs; ++j) unpack(ahead_[slot][j], x[j]);
    reader_.read(true, ahead_[slot]);
  }

 private:
  // The row below the last one that the strip needs.
  static __device__ int end(const ForwardWork& work, const Place& place) {
    const int end = (place.p + place.rows - 1) * Stride - work.before_h + 3;
    return end < work.h ? end : work.h;
  }

  Norm norm_;
  RowReader<T, kInputs, kChannels> reader_;
  Packed<T, kChannels> ahead_[kAhead][kInputs];
};

// Input row t feeds output t with the first row of the window, output t - 1 with its second and
// output t - 2 with its last, so that three sums are under way. They and the rows take turns by
// three, as the loop is unrolled: nothing moves between registers.
template <class Norm, class T, class Outputs>
__device__ void roll_stride_1(const ForwardWork& work, const Place& place, const Taps& taps,
                              const T* x, const NormOnLoad& norm, Outputs& outputs) {
  using RowsAhead = Rows<T, Norm, 1, 3>;
  RowsAhead rows(work, place, x, norm);
  Sums sums[3];
  clear(sums[1]);
  clear(sums[2]);
  const int steps = place.rows + 2;
  for (int first = 0; first < steps; first += 3) {
#pragma unroll
    for (int turn = 0; turn < 3; ++turn) {
      if (first + turn >= steps) return;
      typename RowsAhead::Floats row;
      rows.take(turn, row);
      Sums &top = sums[turn], &middle = sums[(turn + 2) % 3], &bottom = sums[(turn + 1) % 3];
      clear(top);
      add_row<1>(taps, 0, row, top);
      add_row<1>(taps, 1, row, middle);
      add_row<1>(taps, 2, row, bottom);
      if (first + turn >= 2) outputs.finish_row(bottom);
    }
  }
}

// Input row 2t + 1 feeds output t alone, and row 2t + 2 feeds outputs t and t + 1. Two sums take
// turns.
template <class Norm, class T, class Outputs>
__device__ void roll_stride_2(const ForwardWork& work, const Place& place, const Taps& taps,
                              const T* x, const NormOnLoad& norm, Outputs& outputs) {
  using RowsAhead = Rows<T, Norm, 2, 2>;
  RowsAhead rows(work, place, x, norm);
  Sums sums[2];
  clear(sums[0]);
  typename RowsAhead::Floats row;
  rows.take(0, row);
  add_row<2>(taps, 0, row, sums[0]);
  for (int first = 0; first < place.rows; first += 2) {
#pragma unroll
    for (int turn = 0; turn < 2; ++turn) {
      if (first + turn >= place.rows) return;
      Sums &sum = sums[turn], &next = sums[1 - turn];
      rows.take(1, row);
      add_row<2>(taps, 1, row, sum);
      rows.take(0, row);
      add_row<2>(taps, 2, row, sum);
      clear(next);
      add_row<2>(taps, 0, row, next);
      outputs.finish_row(sum);
    }
  }
}

// x is the image [h, w, c] at the thread's first channel.
template <int Stride, class Norm, class T, class Outputs>
__device__ __forceinline__ void roll(const ForwardWork& work, const Place& place, const Taps& taps,
                                     const T* x, const NormOnLoad& norm, Outputs& outputs) {
  if constexpr (Stride == 1)
    roll_stride_1<Norm>(work, place, taps, x, norm, outputs);
  else
    roll_stride_2<Norm>(work, place, taps, x, norm, outputs);
}

// Long strips load fewer rows twice; short ones give a small batch enough threads.
inline ForwardWork divide(const DepthwiseProblem& p, bool reversed) {
  ForwardWork work{DepthwiseSizes::of(p, kChannels)};
  const Index column_tiles = divide_up(p.q, kColumns);
  const Index per_strip = p.n * column_tiles * work.channels.tiles * work.channels.width;
  Index rows = std::min<Index>(p.p, kLongestStrip);
  while (rows > 1 && per_strip * divide_up(p.p, rows) < kThreadsToFill) rows = divide_up(rows, 2);
  const Index strips = divide_up(p.p, rows);
  work.rows = static_cast<int>(rows);
  work.column_tiles = static_cast<unsigned>(column_tiles);
  work.strips = static_cast<unsigned>(strips);
  work.threads = narrow_count("depthwise convolution", p.n, per_strip * strips);
  work.reversed = reversed;
  return work;
}

}  // namespace dfengine::cuda::depthwise
