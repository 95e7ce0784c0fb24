// Tensor-core building blocks of the 16-bit kernels: matrix multiply-accumulate on a warp's
// fragments, their loads from shared memory, and asynchronous copies into it.
//
// The layout of the fragments is that of "mma.m16n8k16" in the PTX ISA. With g = lane / 4 and
// t = lane % 4, a lane holds these elements (row, column), the left one of a register in its lower
// half:
//   A [16, 16]  a[0]     (g, 2t)          (g, 2t + 1)
//               a[1]     (g + 8, 2t)      (g + 8, 2t + 1)
//               a[2]     (g, 2t + 8)      (g, 2t + 9)
//               a[3]     (g + 8, 2t + 8)  (g + 8, 2t + 9)
//   B [16, 8]   b[0]     (2t, g)          (2t + 1, g)
//               b[1]     (2t + 8, g)      (2t + 9, g)
//   C [16, 8]   c[0..1]  (g, 2t)          (g, 2t + 1)
//               c[2..3]  (g + 8, 2t)      (g + 8, 2t + 1)
// Those of "mma.m16n8k8" are the first halves of A and of B.
#pragma once

#include <cstdint>

#include "kernels/cuda/platform.cuh"

namespace dfengine::cuda {

#if defined(__CUDACC__)

// d = a b + c, T Half or BFloat16, float accumulators. d may be c.
template <class T>
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4],
                                            const std::uint32_t (&b)[2], const float (&c)[4]) {
  if constexpr (std::is_same_v<T, Half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%10,%11,%12,%13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
          "f"(c[2]), "f"(c[3]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%10,%11,%12,%13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
          "f"(c[2]), "f"(c[3]));
  }
}

// The same of eight depths.
template <class T>
__device__ __forceinline__ void mma_16x8x8(float (&d)[4], std::uint32_t a0, std::uint32_t a1,
                                           std::uint32_t b, const float (&c)[4]) {
  if constexpr (std::is_same_v<T, Half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%7,%8,%9,%10};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a0), "r"(a1), "r"(b), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%7,%8,%9,%10};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a0), "r"(a1), "r"(b), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
  }
}

__device__ __forceinline__ unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// Loads four 8x8 matrices of 16-bit values. Lane i gives the address of row i % 8 of matrix i / 8,
// aligned to 16 bytes, and gets from each matrix the value (i / 4, 2 (i % 4)) and its right
// neighbour.
__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// The same with each matrix transposed: a lane gets the value (2 (lane % 4), lane / 4) and the one
// below it.
__device__ __forceinline__ void load_matrices_transposed(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// Copies sixteen bytes from global to shared memory in the background, or zeros unless valid. Both
// addresses are aligned to 16 bytes.
__device__ __forceinline__ void copy_async16(void* shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most Left of this thread's groups are pending. A barrier must follow before other
// threads read.
template <int Left>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

#else

namespace emulated {

template <class T>
float half_of(std::uint32_t word, int which) {
  return to_float(T{static_cast<std::uint16_t>(word >> (16 * which))});
}

inline std::uint32_t pair(std::uint16_t low, std::uint16_t high) {
  return static_cast<std::uint32_t>(low) | static_cast<std::uint32_t>(high) << 16;
}

}  // namespace emulated

template <class T>
void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                 const float (&c)[4]) {
  struct Operands {
    float a[4][2], b[2][2];
  };
  Operands mine, all[kWarpSize];
  for (int i = 0; i < 2; ++i) {
    for (int r = 0; r < 4; ++r) mine.a[r][i] = emulated::half_of<T>(a[r], i);
    for (int r = 0; r < 2; ++r) mine.b[r][i] = emulated::half_of<T>(b[r], i);
  }
  emulated::exchange(mine, all);
  const int g = emulated::current().lane / 4, t = emulated::current().lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int row_high = i / 2, column = 2 * t + i % 2;
    float sum = c[i];
    for (int k = 0; k < 16; ++k)
      sum += all[g * 4 + k % 8 / 2].a[row_high + 2 * (k / 8)][k % 2] *
             all[column * 4 + k % 8 / 2].b[k / 8][k % 2];
    d[i] = sum;
  }
}

template <class T>
void mma_16x8x8(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b,
                const float (&c)[4]) {
  mma_16x8x16<T>(d, {a0, a1, 0, 0}, {b, 0}, c);
}

inline void load_matrices(std::uint32_t (&r)[4], const void* row) {
  const std::uint16_t* rows[kWarpSize];
  emulated::exchange(static_cast<const std::uint16_t*>(row), rows);
  const int g = emulated::current().lane / 4, t = emulated::current().lane % 4;
  for (int i = 0; i < 4; ++i)
    r[i] = emulated::pair(rows[8 * i + g][2 * t], rows[8 * i + g][2 * t + 1]);
}

inline void load_matrices_transposed(std::uint32_t (&r)[4], const void* row) {
  const std::uint16_t* rows[kWarpSize];
  emulated::exchange(static_cast<const std::uint16_t*>(row), rows);
  const int g = emulated::current().lane / 4, t = emulated::current().lane % 4;
  for (int i = 0; i < 4; ++i)
    r[i] = emulated::pair(rows[8 * i + 2 * t][g], rows[8 * i + 2 * t + 1][g]);
}

inline void copy_async16(void* shared, const void* global, bool valid) {
  emulated::copy_later(shared, valid ? global : nullptr, 16);
}
inline void copy_async_commit() {
  emulated::commit_copies();
}
template <int Left>
void copy_async_wait() {
  emulated::wait_copies(Left);
}

#endif

// c += a b.
template <class T>
__device__ __forceinline__ void mma_16x8x16(float (&c)[4], const std::uint32_t (&a)[4],
                                            const std::uint32_t (&b)[2]) {
  mma_16x8x16<T>(c, a, b, c);
}

// ---- Fragments of matrices in shared memory -----------------------------------------------------

// The matrix's element (i, j) at tile[i * pitch + j]: fragment A of 16 rows i and 16 depths j.
template <class T>
__device__ __forceinline__ void load_a(std::uint32_t (&a)[4], const T* tile, int pitch, int lane) {
  load_matrices(a, tile + lane % 16 * pitch + lane / 16 * 8);
}

// The same where a row of the storage is a depth: 16 depths i and 16 rows j.
template <class T>
__device__ __forceinline__ void load_a_transposed(std::uint32_t (&a)[4], const T* tile, int pitch,
                                                  int lane) {
  load_matrices_transposed(a, tile + (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 8);
}

// Two fragments B side by side, each of 16 depths x 8 columns, in b[0..1] and b[2..3]. The storage
// has 16 rows, one per column, which are 16 depths long.
template <class T>
__device__ __forceinline__ void load_b(std::uint32_t (&b)[4], const T* tile, int pitch, int lane) {
  load_matrices(b, tile + (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 8);
}

// The same where the storage has 16 rows, one per depth, which are 16 columns long.
template <class T>
__device__ __forceinline__ void load_b_transposed(std::uint32_t (&b)[4], const T* tile, int pitch,
                                                  int lane) {
  load_matrices_transposed(b, tile + lane % 16 * pitch + lane / 16 * 8);
}

}  // namespace dfengine::cuda
