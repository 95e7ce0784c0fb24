// A kernel whose requests of memory can be counted by hand, for the interpreter that counts them
// (tests/ptx).
#pragma once

#include "kernels/cuda/stream.h"

namespace dfengine::test {

// One warp reads every other one of `from` [64] (8 sectors), leaves them as far apart in shared
// memory (two waves for one), reads the first half of them twice (one wave), and writes `to` [32]
// (4 sectors).
void probe_traffic(cuda::Stream stream, const float* from, float* to);

}  // namespace dfengine::test
