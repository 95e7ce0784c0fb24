// Tensor cores of compute capability 9.0 that four warps drive together and that take both factors
// from shared memory ("wgmma" in the PTX ISA). Code that uses this is compiled for sm_90a alone.
//
// A factor lies in rows of 64 16-bit values, 128 bytes, behind each other from a multiple of 1,024
// bytes on; a row is one row of a, or one column of b. Its eight vectors of 16 bytes are exchanged
// such that eight rows have the same vector in different banks: place_in_swizzled().
#pragma once

#include "kernels/cuda/mma.cuh"

namespace dfengine::cuda {

constexpr int kWarpgroupRows = 64, kSwizzledDepth = 64;
constexpr std::size_t kSwizzleAlignment = 1024;

// Where the vector of 8 at (row, column) begins.
__device__ __forceinline__ constexpr int place_in_swizzled(int row, int column) {
  return row * kSwizzledDepth + (column / kVector ^ row % 8) * kVector;
}

// The first address that a factor may have. It is told as a distance from `shared`, without a
// branch: of two pointers the compiler would no longer know that they lead to shared memory.
__device__ __forceinline__ std::byte* align_for_swizzle(std::byte* shared) {
  return shared + (0U - static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(shared))) %
                      static_cast<unsigned>(kSwizzleAlignment);
}

#if defined(__CUDACC__)

// What this thread wrote to shared memory or copied there is seen by products behind the next
// barrier.
__device__ __forceinline__ void publish_to_products() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
// Keeps the compiler from moving what makes or reads sums across this place.
template <int kFragments>
__device__ __forceinline__ void hold(float (&sums)[kFragments][4]) {
#pragma unroll
  for (int j = 0; j < kFragments; ++j)
    asm volatile("" : "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3]));
}

// Before the first product of a group: sums and factors are complete.
template <int kFragments>
__device__ __forceinline__ void begin_products(float (&sums)[kFragments][4]) {
  hold(sums);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits for all products. Sums may be read, and factors written, from here on.
template <int kFragments>
__device__ __forceinline__ void wait_for_products(float (&sums)[kFragments][4]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  hold(sums);
}

// "Matrix Descriptor Format": rows of 128 bytes, swizzled, eight of them 1,024 bytes apart; a depth
// of 16 begins 32 bytes behind the one before.
__device__ __forceinline__ std::uint64_t factor_at(const void* factor, int depth) {
  constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62,
                          kEightRows = std::uint64_t{kSwizzleAlignment / 16} << 32,
                          kUnused = std::uint64_t{1} << 16;
  const auto address = static_cast<std::uint64_t>(shared_address(factor)) + 2 * depth;
  return kSwizzle128 | kEightRows | kUnused | (address & 0x3FFFF) >> 4;
}

#define DF_SUMS_32                                                                                 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25," \
  "%26,%27,%28,%29,%30,%31"
#define DF_SUMS_40 DF_SUMS_32 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define DF_SUMS_48 DF_SUMS_40 ",%40,%41,%42,%43,%44,%45,%46,%47"
#define DF_FRAGMENT(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define DF_FRAGMENTS_8                                                                            \
  DF_FRAGMENT(0), DF_FRAGMENT(1), DF_FRAGMENT(2), DF_FRAGMENT(3), DF_FRAGMENT(4), DF_FRAGMENT(5), \
      DF_FRAGMENT(6), DF_FRAGMENT(7)
#define DF_FRAGMENTS_10 DF_FRAGMENTS_8, DF_FRAGMENT(8), DF_FRAGMENT(9)
#define DF_FRAGMENTS_12 DF_FRAGMENTS_10, DF_FRAGMENT(10), DF_FRAGMENT(11)
#define DF_WGMMA(columns, type, sums, a, b, ...)                                              \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type " {" sums \
               "}, " a ", " b ", 1, 1, 1, 0, 0;"                                              \
               : __VA_ARGS__                                                                  \
               : "l"(factor_at(a_rows, depth)), "l"(factor_at(b_columns, depth)))

// d += a b over 16 depths from `depth` on, of 64 rows of a and all columns of d; it is complete
// once it has been waited for. Warp w of the four has rows 16 w to 16 w + 15, and d[j] is its
// fragment C of columns 8 j to 8 j + 7 (mma.cuh).
template <class T, int kFragments>
__device__ __forceinline__ void start_product(float (&d)[kFragments][4], const T* a_rows,
                                              const T* b_columns, int depth) {
  static_assert(kFragments == 8 || kFragments == 10 || kFragments == 12);
  if constexpr (std::is_same_v<T, Half>) {
    if constexpr (kFragments == 8) DF_WGMMA("64", "f16", DF_SUMS_32, "%32", "%33", DF_FRAGMENTS_8);
    if constexpr (kFragments == 10)
      DF_WGMMA("80", "f16", DF_SUMS_40, "%40", "%41", DF_FRAGMENTS_10);
    if constexpr (kFragments == 12)
      DF_WGMMA("96", "f16", DF_SUMS_48, "%48", "%49", DF_FRAGMENTS_12);
  } else {
    if constexpr (kFragments == 8) DF_WGMMA("64", "bf16", DF_SUMS_32, "%32", "%33", DF_FRAGMENTS_8);
    if constexpr (kFragments == 10)
      DF_WGMMA("80", "bf16", DF_SUMS_40, "%40", "%41", DF_FRAGMENTS_10);
    if constexpr (kFragments == 12)
      DF_WGMMA("96", "bf16", DF_SUMS_48, "%48", "%49", DF_FRAGMENTS_12);
  }
}

#undef DF_WGMMA
#undef DF_FRAGMENTS_12
#undef DF_FRAGMENTS_10
#undef DF_FRAGMENTS_8
#undef DF_FRAGMENT
#undef DF_SUMS_48
#undef DF_SUMS_40
#undef DF_SUMS_32

#else

inline void publish_to_products() {}
template <int kFragments>
void begin_products(float (&)[kFragments][4]) {}
inline void commit_products() {}
template <int kFragments>
void wait_for_products(float (&)[kFragments][4]) {}

template <class T, int kFragments>
void start_product(float (&d)[kFragments][4], const T* a_rows, const T* b_columns, int depth) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarpSize;
  for (int j = 0; j < kFragments; ++j)
    for (int e = 0; e < 4; ++e) {
      const int row = thread / kWarpSize % 4 * 16 + lane / 4 + e / 2 * 8;
      const int column = 8 * j + lane % 4 * 2 + e % 2;
      for (int k = depth; k < depth + 16; k += kVector) {
        const T *const a = a_rows + place_in_swizzled(row, k), *const b =
                                                                   b_columns +
                                                                   place_in_swizzled(column, k);
        for (int i = 0; i < kVector; ++i) d[j][e] += to_float(a[i]) * to_float(b[i]);
      }
    }
}

#endif

}  // namespace dfengine::cuda
