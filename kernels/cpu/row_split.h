// How the convolutions share rows among threads: by shape alone, so that no result depends on the
// number of threads.
#pragma once

#include <algorithm>

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"

namespace dfengine::cpu {

// Calls body(begin, end) on bands that cover [0, rows), in parallel. A band holds at least
// kBandElements elements, enough to pay for handing it out, and there are at most about kBands. It
// is an even number of rows (but for the last), since kernels take rows in pairs.
template <class Body>
void for_bands(const Context& ctx, Index rows, Index row_elements, Body&& body) {
  constexpr Index kBandElements = 4096;
  constexpr Index kBands = 128;
  const Index least = std::max(kBandElements / row_elements, rows / kBands);
  const Index band = least / 2 * 2 + 2;
  parallel_for(ctx.pool, divide_up(rows, band),
               [&](Index i, int) { body(i * band, std::min(rows, (i + 1) * band)); });
}

// How many partial sums a reduction over rows has. Each is over at least kSlicePixels pixels, so
// that writing and adding up the partial sums stays small beside the sums themselves.
inline Index slice_count(Index rows, Index row_pixels) {
  constexpr Index kSlicePixels = 64;
  constexpr Index kSlices = 64;
  return std::clamp<Index>(rows * row_pixels / kSlicePixels, 1, std::min(rows, kSlices));
}

// sum[count] = the sum of the slices of partial[slices, count], in their order.
template <class T>
void add_slices(const Context& ctx, Index slices, Index count, const T* partial, T* sum) {
  constexpr Index kBlock = 1024;
  parallel_for(ctx.pool, divide_up(count, kBlock), [&](Index block, int) {
    const Index begin = block * kBlock, end = std::min(count, begin + kBlock);
    std::fill(sum + begin, sum + end, T(0));
    for (Index slice = 0; slice < slices; ++slice) {
      const T* from = partial + slice * count;
      for (Index i = begin; i < end; ++i) sum[i] += from[i];
    }
  });
}

// sum[count] = the sum over rows of what body(begin, end, partial) adds to its zeroed
// partial[count]. scratch has slices * count elements.
template <class T, class Body>
void sum_slices(const Context& ctx, Index rows, Index slices, Index count, T* scratch, T* sum,
                Body&& body) {
  parallel_for(ctx.pool, slices, [&](Index i, int) {
    T* partial = scratch + i * count;
    std::fill(partial, partial + count, T(0));
    body(rows * i / slices, rows * (i + 1) / slices, partial);
  });
  add_slices(ctx, slices, count, scratch, sum);
}

}  // namespace dfengine::cpu
