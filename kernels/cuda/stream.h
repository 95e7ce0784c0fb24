// The queue that CUDA kernels are launched into, for headers that must not see CUDA's own.
#pragma once

struct CUstream_st;

namespace dfengine::cuda {

// The same type as cudaStream_t.
using Stream = CUstream_st*;

}  // namespace dfengine::cuda
