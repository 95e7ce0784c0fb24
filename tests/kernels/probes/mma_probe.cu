// Kernels of one warp around the pieces of kernels/cuda/mma.cuh.
#include "tests/kernels/probes/mma_probe.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/mma.cuh"

namespace dfengine::test {
namespace {

using namespace dfengine::cuda;

template <class T>
__global__ void mma_kernel(const std::uint32_t* a, const std::uint32_t* b, float* c) {
  await_previous_kernels();
  std::uint32_t mine_a[4], mine_b[2];
  float mine_c[4];
  for (int i = 0; i < 4; ++i) mine_a[i] = a[threadIdx.x * 4 + i];
  for (int i = 0; i < 2; ++i) mine_b[i] = b[threadIdx.x * 2 + i];
  for (int i = 0; i < 4; ++i) mine_c[i] = c[threadIdx.x * 4 + i];
  mma_16x8x16<T>(mine_c, mine_a, mine_b);
  for (int i = 0; i < 4; ++i) c[threadIdx.x * 4 + i] = mine_c[i];
}

__global__ void load_kernel(bool transposed, const std::uint16_t* values, const int* row_of,
                            std::uint32_t* registers) {
  await_previous_kernels();
  __shared__ uint4 rows[kWarpSize];  // aligned to 16 bytes
  std::uint16_t* const shared = reinterpret_cast<std::uint16_t*>(rows);
  for (int i = 0; i < kVector; ++i)
    shared[threadIdx.x * kVector + i] = values[threadIdx.x * kVector + i];
  __syncwarp();
  std::uint32_t mine[4];
  const std::uint16_t* const row = shared + row_of[threadIdx.x] * kVector;
  if (transposed) {
    load_matrices_transposed(mine, row);
  } else {
    load_matrices(mine, row);
  }
  for (int i = 0; i < 4; ++i) registers[threadIdx.x * 4 + i] = mine[i];
}

__global__ void copy_kernel(int valid_lanes, const std::uint16_t* from, std::uint16_t* first,
                            std::uint16_t* both) {
  await_previous_kernels();
  __shared__ uint4 rows[2][kWarpSize];  // aligned to 16 bytes
  std::uint16_t* const shared[2] = {reinterpret_cast<std::uint16_t*>(rows[0]),
                                    reinterpret_cast<std::uint16_t*>(rows[1])};
  const int lane = static_cast<int>(threadIdx.x), at = lane * kVector;
  const int neighbour = (lane + 1) % kWarpSize * kVector;
  copy_async16(shared[0] + at, from + at, true);
  copy_async_commit();
  copy_async16(shared[1] + at, from + kWarpSize * kVector + at, lane < valid_lanes);
  copy_async_commit();
  copy_async_wait<1>();
  __syncthreads();
  for (int i = 0; i < kVector; ++i) first[at + i] = shared[0][neighbour + i];
  copy_async_wait<0>();
  __syncthreads();
  for (int part = 0; part < 2; ++part)
    for (int i = 0; i < kVector; ++i)
      both[(part * kWarpSize + lane) * kVector + i] = shared[part][at + i];
}

}  // namespace

template <class T>
void probe_mma(Stream stream, const std::uint32_t* a, const std::uint32_t* b, float* c) {
  launch(stream, "probe_mma", mma_kernel<T>, blocks(1), kWarpSize, 0, a, b, c);
}
template void probe_mma<Half>(Stream, const std::uint32_t*, const std::uint32_t*, float*);
template void probe_mma<BFloat16>(Stream, const std::uint32_t*, const std::uint32_t*, float*);

void probe_load_matrices(Stream stream, bool transposed, const std::uint16_t* values,
                         const int* row_of, std::uint32_t* registers) {
  launch(stream, "probe_load_matrices", load_kernel, blocks(1), kWarpSize, 0, transposed, values,
         row_of, registers);
}

void probe_copy_async(Stream stream, int valid_lanes, const std::uint16_t* from,
                      std::uint16_t* first, std::uint16_t* both) {
  launch(stream, "probe_copy_async", copy_kernel, blocks(1), kWarpSize, 0, valid_lanes, from, first,
         both);
}

}  // namespace dfengine::test
