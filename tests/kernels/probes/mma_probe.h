// Kernels of one warp that run single pieces of kernels/cuda/mma.cuh on what a test gives them.
#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"

namespace dfengine::test {

// c[lane] += a[lane] b[lane]: each lane's registers as they are. a [32, 4], b [32, 2], c [32, 4].
template <class T>
void probe_mma(cuda::Stream stream, const std::uint32_t* a, const std::uint32_t* b, float* c);

// Loads four 8x8 matrices, lane i giving the address of row_of[i] of values, whose rows are 8 long.
// values [32, 8], registers [32, 4].
void probe_load_matrices(cuda::Stream stream, bool transposed, const std::uint16_t* values,
                         const int* row_of, std::uint32_t* registers);

// Each lane copies twice 16 bytes from its place in `from`, the second time one group later and
// only in lanes below valid_lanes. first: what a lane's neighbour finds when only the first group
// is waited for; both: all of it in the end. from [2, 32, 8], first [32, 8], both [2, 32, 8].
void probe_copy_async(cuda::Stream stream, int valid_lanes, const std::uint16_t* from,
                      std::uint16_t* first, std::uint16_t* both);

}  // namespace dfengine::test
