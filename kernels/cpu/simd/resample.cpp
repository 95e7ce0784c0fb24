// Weighted sums of levels (see kernels/resample.h). Along a row a pixel's three colours and the
// byte behind them fill a vector of four; across rows levels fill the widest vector.
#include "kernels/cpu/simd/tables.h"

#ifdef __SSE4_1__
#include <smmintrin.h>
#endif

#include "kernels/cpu/simd/vec.h"

namespace dfengine::cpu::DF_ISA {
namespace {

constexpr std::int32_t kHalf = 1 << (kResampleFractionBits - 1);

// At least eight lanes, because compilers make scalar code of shorter byte vectors.
constexpr int kLevels = kLanes < 8 ? 8 : kLanes;
typedef std::uint8_t Bytes __attribute__((vector_size(kLevels)));
typedef std::uint16_t Words __attribute__((vector_size(2 * kLevels)));
typedef std::int32_t Sums __attribute__((vector_size(4 * kLevels)));

// The way leads over 16-bit words, because compilers know no shorter one.
DF_INLINE Sums load_levels(const std::uint8_t* p) {
  Bytes bytes;
  __builtin_memcpy(&bytes, p, sizeof(bytes));
  return __builtin_convertvector(__builtin_convertvector(bytes, Words), Sums);
}

DF_INLINE void store_levels(std::uint8_t* p, Sums sum) {
  sum = sum >> kResampleFractionBits;
  sum = sum < Sums{} ? Sums{} : sum;
  sum = sum > 255 ? Sums{} + 255 : sum;
  const auto bytes = __builtin_convertvector(__builtin_convertvector(sum, Words), Bytes);
  __builtin_memcpy(p, &bytes, sizeof(bytes));
}

DF_INLINE std::uint8_t to_level(std::int32_t sum) {
  sum >>= kResampleFractionBits;
  return static_cast<std::uint8_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

// Pixels [first, axis.count) without reading or writing past their three bytes.
void row_end(const ResampleAxis& axis, Index first, const std::uint8_t* x, std::uint8_t* y) {
  for (Index i = first; i < axis.count; ++i) {
    const std::uint8_t* p = x + 3 * static_cast<Index>(axis.start[i]);
    const std::int32_t* weight = axis.weights + i * axis.taps;
    std::int32_t r = kHalf, g = kHalf, b = kHalf;
    for (Index t = 0; t < axis.taps; ++t, p += 3) {
      r += p[0] * weight[t];
      g += p[1] * weight[t];
      b += p[2] * weight[t];
    }
    y[3 * i] = to_level(r), y[3 * i + 1] = to_level(g), y[3 * i + 2] = to_level(b);
  }
}

#ifdef __SSE4_1__
DF_INLINE __m128i load_pixel(const std::uint8_t* p) {
  int four;
  __builtin_memcpy(&four, p, sizeof(four));
  return _mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
}

DF_INLINE void store_pixel(std::uint8_t* p, __m128i sum) {
  const __m128i levels = _mm_srai_epi32(sum, kResampleFractionBits);
  const __m128i words = _mm_packs_epi32(levels, levels);
  const int four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  __builtin_memcpy(p, &four, sizeof(four));
}

// Makes the first pixels of a row and returns how many. A vector touches the byte after its pixel,
// and behind the last input and output pixels there is none. Taps is their number where the
// compiler knows it, otherwise 0.
template <int Taps>
Index row_begin(const ResampleAxis& axis, const std::uint8_t* x, std::uint8_t* y) {
  const Index taps = Taps > 0 ? Taps : axis.taps;
  const std::int32_t* start = axis.start;
  const std::int32_t* weight = axis.weights;
  Index end = axis.count - 1;
  while (end > 0 && start[end - 1] + taps >= axis.in) --end;  // starts never decrease
  for (Index i = 0; i < end; ++i, weight += taps) {
    const std::uint8_t* p = x + 3 * static_cast<Index>(start[i]);
    __m128i sum = _mm_set1_epi32(kHalf);
    for (Index t = 0; t < taps; ++t) {
      const __m128i term = _mm_mullo_epi32(load_pixel(p + 3 * t), _mm_set1_epi32(weight[t]));
      sum = _mm_add_epi32(sum, term);
    }
    store_pixel(y + 3 * i, sum);
  }
  return end;
}

void row(const ResampleAxis& axis, const std::uint8_t* x, std::uint8_t* y) {
  const auto begin = [&] {
    switch (axis.taps) {
      case 2:
        return row_begin<2>(axis, x, y);
      case 3:
        return row_begin<3>(axis, x, y);
      case 4:
        return row_begin<4>(axis, x, y);
      case 5:
        return row_begin<5>(axis, x, y);
      default:
        return row_begin<0>(axis, x, y);
    }
  };
  row_end(axis, begin(), x, y);
}
#else
void row(const ResampleAxis& axis, const std::uint8_t* x, std::uint8_t* y) {
  row_end(axis, 0, x, y);
}
#endif

void column(Index n, Index taps, const std::int32_t* weights, Index stride, const std::uint8_t* x,
            std::uint8_t* y) {
  Index i = 0;
  for (; i + kLevels <= n; i += kLevels) {
    Sums sum = Sums{} + kHalf;
    for (Index t = 0; t < taps; ++t) sum += load_levels(x + t * stride + i) * weights[t];
    store_levels(y + i, sum);
  }
  for (; i < n; ++i) {
    std::int32_t sum = kHalf;
    for (Index t = 0; t < taps; ++t) sum += x[t * stride + i] * weights[t];
    y[i] = to_level(sum);
  }
}

}  // namespace

const ResampleTable resample_table = {row, column};

}  // namespace dfengine::cpu::DF_ISA
