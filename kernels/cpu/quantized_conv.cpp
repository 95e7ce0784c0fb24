// Quantized convolutions on the CPU: packing, the split over threads, and the stem as a matrix
// product over rows of windows.
#include "kernels/quantized_conv.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/base/error.h"
#include "kernels/cpu/cut_product.h"
#include "kernels/cpu/row_split.h"
#include "kernels/cpu/simd/pointwise_conv.h"
#include "kernels/cpu/simd/quantized_conv.h"

namespace dfengine::cpu {
namespace {

constexpr Index kAligned = 64;

const QuantizedTable& table() {
#if DF_X86_ISAS
  if (current_isa() == Isa::Avx512 && __builtin_cpu_supports("avx512vnni"))
    return avx512vnni::quantized_table;
#endif
  return current_quantized_table();
}

void require_eights(const char* what, Index channels) {
  if (channels % 8 != 0)
    throw ShapeError("quantized convolution: " + std::to_string(channels) + " channels " + what +
                     ", not a multiple of 8");
}

// Where a packed convolution of `weights` bytes and so many channels has what.
struct Layout {
  Index bias, scale, bytes;
};
Layout layout(Index weights, Index channels) {
  const Index bias = round_up(weights, kAligned);
  const Index scale = round_up(bias + channels * 4, kAligned);
  return {bias, scale, round_up(scale + channels * 4, kAligned)};
}

// A packed convolution, and an epilogue that has its bias and scale.
std::byte* within(void* packed, Index bytes) {
  return static_cast<std::byte*>(packed) + bytes;
}
QuantizedEpilogue with_packed(QuantizedEpilogue e, const void* packed, const Layout& at) {
  const auto* bytes = static_cast<const std::byte*>(packed);
  e.bias = reinterpret_cast<const std::int32_t*>(bytes + at.bias);
  e.scale = reinterpret_cast<const float*>(bytes + at.scale);
  return e;
}

// ---- Matrix products ----

Layout matrix_layout(Index depth, Index columns) {
  return layout(round_up(columns, kPanelWidth) * depth * kQuad, columns);
}

// weight(k, i): of column k and depth i, 0 beyond the depth.
template <class Weight>
void pack_matrix(Index depth, Index columns, const Weight& weight, std::int8_t* packed) {
  Index width = 0;
  for (Index panel = 0; panel < columns; panel += width) {
    width = panel_width(columns - panel);
    for (Index d = 0; d < depth; ++d)
      for (Index j = 0; j < width; ++j)
        for (Index i = 0; i < kQuad; ++i)
          *packed++ = panel + j < columns ? weight(panel + j, d * kQuad + i) : std::int8_t{0};
  }
}

void multiply(const Context& ctx, const QuantizedBlock& whole) {
  const Cut cut = cut_product(ctx.pool.size(), whole.rows, whole.columns, whole.depth * kQuad, 1);
  for_blocks(ctx, cut, whole.rows, whole.columns, [&](Index i, Index rows, Index j, Index columns) {
    QuantizedBlock block = whole;
    block.rows = rows;
    block.columns = columns;
    block.a += i * whole.a_stride;
    block.packed += j * whole.depth * kQuad;
    block.y += i * whole.y_stride + j;
    block.epilogue.bias += j;
    block.epilogue.scale += j;
    if (block.epilogue.residual != nullptr) block.epilogue.residual += i * whole.y_stride + j;
    table().multiply(block);
  });
}

// ---- Stem ----

// A window's row is nine bytes, taken as three units of depth.
constexpr Index kStemDepth = 9, kStemRow = 12;

// The windows of one output row, [q][3 rows][12 bytes], of which the last three of a row meet
// weights of 0.
void stem_windows(const StemProblem& p, const std::uint8_t* image, Index row,
                  const std::array<std::uint8_t, 3>& outside, std::uint8_t* windows) {
  for (Index q = 0; q < p.q; ++q) {
    for (Index r = 0; r < 3; ++r) {
      const Index i = row * p.stride + r - p.before_h, j = q * p.stride - p.before_w;
      std::uint8_t* to = windows + (q * 3 + r) * kStemRow;
      if (i >= 0 && i < p.h && j >= 0 && j + 3 <= p.w) {
        std::memcpy(to, image + (i * p.w + j) * 3, 9);
        continue;
      }
      for (Index s = 0; s < 3; ++s) {
        const bool inside = i >= 0 && i < p.h && j + s >= 0 && j + s < p.w;
        std::memcpy(to + s * 3, inside ? image + (i * p.w + j + s) * 3 : outside.data(), 3);
      }
    }
  }
}

}  // namespace

std::int64_t largest_sum(const std::int8_t* w, Index count, Index step, std::int32_t bias) {
  std::int64_t above = bias, below = bias;
  for (Index i = 0; i < count; ++i) {
    const std::int64_t most = std::int64_t{w[i * step]} * 255;
    (most > 0 ? above : below) += most;
  }
  return std::max(std::abs(above), std::abs(below));
}

// ---- Pointwise ----

Index quantized_pointwise_bytes(const PointwiseProblem& p) {
  return matrix_layout(p.c / kQuad, p.k).bytes;
}

void quantized_pointwise_pack(const PointwiseProblem& p, const QuantizedWeights& weights,
                              void* packed) {
  require_eights("in", p.c);
  require_eights("out", p.k);
  const Layout at = matrix_layout(p.c / kQuad, p.k);
  pack_matrix(
      p.c / kQuad, p.k, [&](Index k, Index c) { return weights.w[k * p.c + c]; },
      static_cast<std::int8_t*>(packed));
  std::memcpy(within(packed, at.bias), weights.bias, static_cast<std::size_t>(p.k) * 4);
  std::memcpy(within(packed, at.scale), weights.scale, static_cast<std::size_t>(p.k) * 4);
}

void quantized_pointwise(const Context& ctx, const PointwiseProblem& p, const std::uint8_t* x,
                         const void* packed, const QuantizedEpilogue& epilogue, std::uint8_t* y) {
  multiply(ctx, {.rows = p.m,
                 .columns = p.k,
                 .depth = p.c / kQuad,
                 .a = x,
                 .a_stride = p.c,
                 .packed = static_cast<const std::int8_t*>(packed),
                 .epilogue = with_packed(epilogue, packed, matrix_layout(p.c / kQuad, p.k)),
                 .y = y,
                 .y_stride = p.k});
}

// ---- Depthwise ----

Index quantized_depthwise_bytes(const DepthwiseProblem& p) {
  return layout(p.c * 3 * kQuad, p.c).bytes;
}

void quantized_depthwise_pack(const DepthwiseProblem& p, const QuantizedWeights& weights,
                              void* packed) {
  require_eights("in and out", p.c);
  const Layout at = layout(p.c * 3 * kQuad, p.c);
  auto* w = static_cast<std::int8_t*>(packed);
  Index group = 0;
  for (Index first = 0; first < p.c; first += group) {
    group = depthwise_group(p.c - first);
    for (Index c = 0; c < group; ++c) {
      const Index to = depthwise_position(group, c);
      for (Index s = 0; s < 3; ++s)
        for (Index r = 0; r < kQuad; ++r)
          w[(first * 3 + s * group + to) * kQuad + r] =
              r < 3 ? weights.w[(r * 3 + s) * p.c + first + c] : std::int8_t{0};
      std::memcpy(within(packed, at.bias + (first + to) * 4), weights.bias + first + c, 4);
      std::memcpy(within(packed, at.scale + (first + to) * 4), weights.scale + first + c, 4);
    }
  }
}

void quantized_depthwise(const Context& ctx, const DepthwiseProblem& p, const std::uint8_t* x,
                         const void* packed, const QuantizedEpilogue& epilogue, std::uint8_t* y) {
  const QuantizedEpilogue e = with_packed(epilogue, packed, layout(p.c * 3 * kQuad, p.c));
  for_bands(ctx, p.n * p.p, p.q * p.c, [&](Index begin, Index end) {
    table().depthwise(p, x, static_cast<const std::int8_t*>(packed), e, begin, end, y);
  });
}

// ---- Stem ----

Index quantized_stem_bytes(const StemProblem& p) {
  return matrix_layout(kStemDepth, p.k).bytes;
}

void quantized_stem_pack(const StemProblem& p, const QuantizedWeights& weights, void* packed) {
  require_eights("out", p.k);
  const Layout at = matrix_layout(kStemDepth, p.k);
  pack_matrix(
      kStemDepth, p.k,
      [&](Index k, Index i) {
        const Index r = i / kStemRow, byte = i % kStemRow;
        return byte < 9 ? weights.w[(r * 9 + byte) * p.k + k] : std::int8_t{0};
      },
      static_cast<std::int8_t*>(packed));
  std::memcpy(within(packed, at.bias), weights.bias, static_cast<std::size_t>(p.k) * 4);
  std::memcpy(within(packed, at.scale), weights.scale, static_cast<std::size_t>(p.k) * 4);
}

// Each task has windows of its own, for one row at a time.
constexpr Index kStemTasks = 32;

Index quantized_stem_scratch(const StemProblem& p) {
  return std::min(kStemTasks, p.n * p.p) * p.q * 3 * kStemRow;
}

void quantized_stem(const Context& ctx, const StemProblem& p, const std::uint8_t* x,
                    const std::array<std::uint8_t, 3>& outside, const void* packed,
                    const QuantizedEpilogue& epilogue, void* scratch, std::uint8_t* y) {
  const QuantizedEpilogue e = with_packed(epilogue, packed, matrix_layout(kStemDepth, p.k));
  const Index rows = p.n * p.p, tasks = std::min(kStemTasks, rows), bytes = p.q * 3 * kStemRow;
  parallel_for(ctx.pool, tasks, [&](Index task, int) {
    std::uint8_t* windows = static_cast<std::uint8_t*>(scratch) + task * bytes;
    for (Index row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row) {
      stem_windows(p, x + row / p.p * p.h * p.w * 3, row % p.p, outside, windows);
      table().multiply({.rows = p.q,
                        .columns = p.k,
                        .depth = kStemDepth,
                        .a = windows,
                        .a_stride = 3 * kStemRow,
                        .packed = static_cast<const std::int8_t*>(packed),
                        .epilogue = e,
                        .y = y + row * p.q * p.k,
                        .y_stride = p.k});
    }
  });
}

// ---- Pool ----

void quantized_average_pool(const Context& ctx, const Shape& x_shape, const std::uint8_t* x,
                            float scale, float* y) {
  const Index pixels = x_shape.h * x_shape.w, channels = x_shape.c;
  const float by = scale / static_cast<float>(pixels);
  constexpr Index kBlock = 64;
  parallel_for(ctx.pool, x_shape.n * divide_up(channels, kBlock), [&](Index task, int) {
    const Index n = task / divide_up(channels, kBlock);
    const Index first = task % divide_up(channels, kBlock) * kBlock;
    const Index count = std::min(kBlock, channels - first);
    std::int32_t sums[kBlock] = {};
    for (Index i = 0; i < pixels; ++i) {
      const std::uint8_t* from = x + (n * pixels + i) * channels + first;
      for (Index c = 0; c < count; ++c) sums[c] += from[c];
    }
    for (Index c = 0; c < count; ++c)
      y[n * channels + first + c] = by * static_cast<float>(sums[c]);
  });
}

}  // namespace dfengine::cpu
