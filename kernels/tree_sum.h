// Sums of rows in one binary tree: neighbours first, then neighbouring pairs. Parts of the rows
// that are subtrees may be added elsewhere, by slices and by processes, and the bits stay the same.
//
// Shapes       values [rows, pitch], of which the first `count` columns are added; to [count]. rows is a
//              power of two.
// Aliasing     values are overwritten. to may be values.
// Determinism  The bits are the same in every run and for any number of threads.
#pragma once

#include "kernels/base/shape.h"
#include "kernels/cpu/context.h"
#include "kernels/cuda/stream.h"

namespace dfengine {
namespace cpu {

// T: float or double.
template <class T>
void tree_sum(const Context& ctx, Index rows, Index pitch, Index count, T* values, T* to);

}  // namespace cpu

namespace cuda {

template <class T>
void tree_sum(Stream stream, Index rows, Index pitch, Index count, T* values, T* to);

}  // namespace cuda
}  // namespace dfengine
