// What batch normalisation does to a chunk of rows, and the scratch that holds what it finds there.
#pragma once

#include <cstdint>
#if DF_X86_ISAS
#include <immintrin.h>
#endif

#include "kernels/cpu/simd/batch_norm_layout.h"
#include "kernels/cpu/simd/elementwise.h"

namespace dfengine::cpu::DF_ISA {

// Channels merged by one task, with local sums in double.
inline constexpr Index kMergeChannels = 64;

// The scratch of one call. Its vectors have the names of what the last pass finds in them.
struct BatchNormScratch {
  BatchNormScratch(const BatchNormProblem& p, float* scratch)
      : c(p.c),
        scale(scratch),
        shift(scratch + c),
        slope(scratch + 2 * c),
        offset(scratch + 3 * c),
        sums(scratch + kBatchNormVectors * c) {}
  // Array `which` [C] of one chunk.
  float* sum(Index chunk, Index which) const { return sums + (chunk * kBatchNormSums + which) * c; }

  Index c;
  float *scale, *shift, *slope, *offset, *sums;
};

// A chunk of rows.
struct BatchNormRows {
  BatchNormRows(const BatchNormProblem& p, Index chunk) : begin(chunk * batch_norm_chunk_rows(p)) {
    const Index end = begin + batch_norm_chunk_rows(p);
    count = (end < p.m ? end : p.m) - begin;
  }
  Index begin, count;
};

// Calls body(chunk) for every chunk, the last one first, because the pass before ended with the
// last chunks in the cache.
template <class Body>
DF_INLINE void for_chunks_backwards(const Context& ctx, const BatchNormProblem& p, Body&& body) {
  const Index chunks = batch_norm_chunks(p);
  parallel_for(ctx.pool, chunks, [&](Index i, int) { body(chunks - 1 - i); });
}

// Calls body(begin, width) for blocks of at most kMergeChannels channels.
template <class Body>
DF_INLINE void for_channel_blocks(const Context& ctx, Index c, Body&& body) {
  parallel_for(ctx.pool, (c + kMergeChannels - 1) / kMergeChannels, [&](Index block, int) {
    const Index begin = block * kMergeChannels;
    body(begin, c - begin < kMergeChannels ? c - begin : kMergeChannels);
  });
}

// The activation's input is x * scale + shift, both in forward and where backward asks again on
// which side of a bound it was.
DF_INLINE void scale_shift(double gamma, double beta, double mean, double rstd, float* scale,
                           float* shift) {
  *scale = static_cast<float>(gamma * rstd);
  *shift = static_cast<float>(beta - mean * *scale);
}

// Whether the result [M, C] is stored past the caches. When it is larger than they are, a plain
// store fetches every line from memory only to overwrite it. bench_batch_norm found the limit of 16
// MB.
inline bool streams(const BatchNormProblem& p, const Stored* y) {
  constexpr Index kStreamElements = 4 * 1024 * 1024;
  return p.m * p.c >= kStreamElements && p.c % kLanes == 0 &&
         reinterpret_cast<std::uintptr_t>(y) % (sizeof(Stored) * kLanes) == 0;
}

template <bool Stream, int N>
DF_INLINE void store_result(Stored* p, Vec<N> v) {
#if DF_ISA_avx512bf16
  if constexpr (Stream && N == 16)
    return _mm256_stream_si256(reinterpret_cast<__m256i*>(p),
                               (__m256i)_mm512_cvtneps_pbh((__m512)v));
#elif DF_ISA_avx512
  if constexpr (Stream && N == 16) return _mm512_stream_ps(p, (__m512)v);
#elif DF_ISA_avx2
  if constexpr (Stream && N == 8) return _mm256_stream_ps(p, (__m256)v);
#elif DF_X86_ISAS
  if constexpr (Stream && N == 4) return _mm_stream_ps(p, (__m128)v);
#endif
  store<N>(p, v);
}

// Makes streamed stores visible to other threads in order.
template <bool Stream>
DF_INLINE void finish_stores() {
#if DF_X86_ISAS
  if constexpr (Stream) _mm_sfence();
#endif
}

// y = act(x * scale + shift) for `width` channels of rows that lie `stride` apart.
template <Activation A, bool Stream>
void apply_rows(const Stored* x, Index rows, Index stride, Index width, const float* scale,
                const float* shift, Stored* y) {
  for_row_groups(rows, stride, [&](auto group, Index row) {
    const Index base = row * stride;
    for_lanes(width, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      const Vec<n> a = load<n>(scale + i), b = load<n>(shift + i);
      for (int r = 0; r < decltype(group)::value; ++r) {
        const Index at = base + r * stride + i;
        store_result<Stream, n>(y + at, activate<A, n>(load<n>(x + at) * a + b));
      }
    });
  });
  finish_stores<Stream>();
}

// Two passes over a chunk, the second from the cache: a mean in float, then the sums of
// d = x - mean and of d^2. The sum of d carries what rounding took from the mean.
inline void chunk_moments(const Stored* x, Index rows, Index c, float* mean, float* sum_d,
                          float* sum_dd) {
  for (Index i = 0; i < c; ++i) mean[i] = sum_d[i] = sum_dd[i] = 0.0f;
  add_rows(x, rows, c, mean);
  const float inverse = 1.0f / static_cast<float>(rows);
  for (Index i = 0; i < c; ++i) mean[i] *= inverse;
  for_row_groups(rows, c, [&](auto group, Index row) {
    const Stored* p = x + row * c;
    for_lanes(c, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      const Vec<n> mu = load<n>(mean + i);
      Vec<n> d = load<n>(p + i) - mu;
      Vec<n> part_d = d, part_dd = d * d;
      for (int r = 1; r < decltype(group)::value; ++r) {
        d = load<n>(p + r * c + i) - mu;
        part_d += d;
        part_dd += d * d;
      }
      store<n>(sum_d + i, load<n>(sum_d + i) + part_d);
      store<n>(sum_dd + i, load<n>(sum_dd + i) + part_dd);
    });
  });
}

// Chan's formula for many parts: a part of n rows around its own centre m_k adds
// sum (x - mean)^2 = sum_dd + (m_k - mean) * (2 sum_d + n (m_k - mean)).
inline void merge_moments(const BatchNormProblem& p, const BatchNormScratch& s, Index begin,
                          Index width, double* mean, double* m2) {
  for (Index i = 0; i < width; ++i) mean[i] = m2[i] = 0.0;
  for (Index chunk = 0; chunk < batch_norm_chunks(p); ++chunk) {
    const double n = static_cast<double>(BatchNormRows(p, chunk).count);
    const float *m = s.sum(chunk, 0) + begin, *d = s.sum(chunk, 1) + begin;
    for (Index i = 0; i < width; ++i) mean[i] += n * m[i] + d[i];
  }
  for (Index i = 0; i < width; ++i) mean[i] /= static_cast<double>(p.m);
  for (Index chunk = 0; chunk < batch_norm_chunks(p); ++chunk) {
    const double n = static_cast<double>(BatchNormRows(p, chunk).count);
    const float *m = s.sum(chunk, 0) + begin, *d = s.sum(chunk, 1) + begin;
    const float* dd = s.sum(chunk, 2) + begin;
    for (Index i = 0; i < width; ++i) {
      const double away = m[i] - mean[i];
      m2[i] += dd[i] + away * (2.0 * d[i] + n * away);
    }
  }
}

// sum_g += g and sum_gd += g * (x - mean) over a chunk, where g = dy through the activation. With
// Store also dx = g * scale, which is the whole gradient of the frozen form.
template <Activation A, bool Store>
void reduce_rows(const Stored* x, const Stored* dy, Index rows, const BatchNormScratch& s,
                 const float* mean, float* sum_g, float* sum_gd, Stored* dx) {
  for (Index i = 0; i < s.c; ++i) sum_g[i] = sum_gd[i] = 0.0f;
  for_row_groups(rows, s.c, [&](auto group, Index row) {
    const Index base = row * s.c;
    for_lanes(s.c, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      const Vec<n> scale = load<n>(s.scale + i), shift = load<n>(s.shift + i);
      const Vec<n> mu = load<n>(mean + i);
      Vec<n> part_g{}, part_gd{};
      for (int r = 0; r < decltype(group)::value; ++r) {
        const Index at = base + r * s.c + i;
        const Vec<n> v = load<n>(x + at);
        const Vec<n> g = activation_gradient<A, n>(v * scale + shift, load<n>(dy + at));
        part_g += g;
        part_gd += g * (v - mu);
        if constexpr (Store) store<n>(dx + at, g * scale);
      }
      store<n>(sum_g + i, load<n>(sum_g + i) + part_g);
      store<n>(sum_gd + i, load<n>(sum_gd + i) + part_gd);
    });
  });
}

// dx = scale * g + slope * (x - mean) + offset, with g = dy through the activation.
template <Activation A, bool Stream>
void backward_rows(const Stored* x, const Stored* dy, Index rows, const BatchNormScratch& s,
                   const float* mean, Stored* dx) {
  for_row_groups(rows, s.c, [&](auto group, Index row) {
    const Index base = row * s.c;
    for_lanes(s.c, [&](auto lanes, Index i) {
      constexpr int n = decltype(lanes)::value;
      const Vec<n> scale = load<n>(s.scale + i), shift = load<n>(s.shift + i);
      const Vec<n> slope = load<n>(s.slope + i), offset = load<n>(s.offset + i);
      const Vec<n> mu = load<n>(mean + i);
      for (int r = 0; r < decltype(group)::value; ++r) {
        const Index at = base + r * s.c + i;
        const Vec<n> v = load<n>(x + at);
        const Vec<n> g = activation_gradient<A, n>(v * scale + shift, load<n>(dy + at));
        store_result<Stream, n>(dx + at, g * scale + ((v - mu) * slope + offset));
      }
    });
  });
  finish_stores<Stream>();
}

}  // namespace dfengine::cpu::DF_ISA
