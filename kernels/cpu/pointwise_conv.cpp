// Pointwise convolution on the CPU: float and bf16 by the register-tile product of
// simd/pointwise_conv.h, cut into blocks that fit the caches; double by Eigen, the oracle.
#include "kernels/pointwise_conv.h"

#include <Eigen/Core>
#include <algorithm>
#include <cstring>
#include <string>
#include <type_traits>

#include "kernels/activation_function.h"
#include "kernels/base/error.h"
#include "kernels/cpu/cut_product.h"
#include "kernels/cpu/row_split.h"
#include "kernels/cpu/simd/pointwise_conv.h"

namespace dfengine::cpu {
namespace {

// ---- double ----

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using MapIn = Eigen::Map<const Matrix<T>>;
template <class T>
using MapOut = Eigen::Map<Matrix<T>>;

constexpr Index kOracleRows = 128;

// Calls body(first, rows) for blocks of kOracleRows rows.
template <class Body>
void for_row_blocks(const Context& ctx, Index m, const Body& body) {
  parallel_for(ctx.pool, divide_up(m, kOracleRows), [&](Index block, int) {
    const Index first = block * kOracleRows;
    body(first, std::min(kOracleRows, m - first));
  });
}

template <class T>
void finish(const Epilogue<T>& epilogue, Index first, Index k, Matrix<T>& y) {
  for (Index i = 0; i < y.rows(); ++i) {
    for (Index j = 0; j < k; ++j) {
      T value = y(i, j);
      if (epilogue.bias != nullptr) value += epilogue.bias[j];
      value = activate(epilogue.activation, value);
      if (epilogue.residual != nullptr) value += epilogue.residual[(first + i) * k + j];
      y(i, j) = value;
    }
  }
}

// ---- float and bf16 ----

// Channels in a step of depth.
template <class T>
constexpr Index kChannels = sizeof(MatrixUnit<T>) / sizeof(T);

// The units that a row of channels, or packed weights, are for the product.
template <class T>
const MatrixUnit<T>* units(const T* values) {
  return reinterpret_cast<const MatrixUnit<T>*>(values);
}

// whole.a is [rows, depth].
template <class T>
void multiply(const Context& ctx, const MatrixBlock<MatrixUnit<T>, T>& whole) {
  const MatrixTable<T>& table = current_matrix<T>();
  const Cut cut = cut_product(ctx.pool.size(), whole.rows, whole.columns,
                              whole.depth * kChannels<T>, sizeof(T));
  for_blocks(ctx, cut, whole.rows, whole.columns, [&](Index i, Index rows, Index j, Index columns) {
    auto block = whole;
    block.rows = rows;
    block.columns = columns;
    block.a += i * whole.a_stride;
    block.packed += j * whole.depth;
    block.y += i * whole.y_stride + j;
    if (block.bias != nullptr) block.bias += j;
    if (block.residual != nullptr) block.residual += i * whole.y_stride + j;
    table.multiply(block);
  });
}

BFloat16Pair pair_of(BFloat16 first, BFloat16 second) {
  return {static_cast<std::uint32_t>(second.bits) << 16 | first.bits};
}
BFloat16Pair pair_of(float first, float second) {
  return pair_of(BFloat16{float_to_bf16(first)}, BFloat16{float_to_bf16(second)});
}

// Copies of a fixed length become a few instructions.
void copy_row(Index width, const float* from, float* to) {
  if (width == 32) {
    std::memcpy(to, from, 32 * sizeof(float));
  } else if (width == 16) {
    std::memcpy(to, from, 16 * sizeof(float));
  } else {
    std::memcpy(to, from, 8 * sizeof(float));
  }
}

// Packs B [depth, columns] (layout: simd/pointwise_conv.h), b_row and b_column floats apart.
void pack_matrix(Index depth, Index columns, const float* b, Index b_row, Index b_column,
                 float* packed) {
  Index width = 0;
  for (Index panel = 0; panel < columns; panel += width) {
    width = panel_width(columns - panel);
    const Index real = std::min(width, columns - panel);
    for (Index d = 0; d < depth; ++d) {
      const float* row = b + d * b_row + panel * b_column;
      if (real == width && b_column == 1) {
        copy_row(width, row, packed);
      } else {
        for (Index j = 0; j < real; ++j) packed[j] = row[j * b_column];
        std::fill(packed + real, packed + width, 0.0f);
      }
      packed += width;
    }
  }
}

// The same of pairs of rows of B: rows beyond the last count as 0.
template <class Value>
void pack_pairs(Index depth, Index columns, const Value* b, Index b_row, Index b_column,
                BFloat16Pair* packed) {
  Index width = 0;
  for (Index panel = 0; panel < columns; panel += width) {
    width = panel_width(columns - panel);
    const Index real = std::min(width, columns - panel);
    const Value* from = b + panel * b_column;
    const auto pair = [&](Index d, Index j) {
      const Value* first = from + d * b_row + j * b_column;
      return d + 1 < depth ? pair_of(*first, first[b_row]) : pair_of(*first, Value{});
    };
    if (b_row == 1) {
      for (Index j = 0; j < real; ++j)
        for (Index d = 0; d < depth; d += 2) packed[d / 2 * width + j] = pair(d, j);
    } else {
      for (Index d = 0; d < depth; d += 2)
        for (Index j = 0; j < real; ++j) packed[d / 2 * width + j] = pair(d, j);
    }
    const Index steps = divide_up(depth, 2);
    for (Index d = 0; d < steps; ++d)
      std::fill(packed + d * width + real, packed + (d + 1) * width, BFloat16Pair{0});
    packed += steps * width;
  }
}

// How the weight gradient is cut. dw is cut into rectangles that stay in the second-level cache.
// Where those are too few tasks, the rows are cut into slices, each with a dw of its own. All of it
// follows from the shape alone, because the sums must not depend on the number of threads.
struct WeightCut {
  Index k_block, k_blocks, c_block, c_blocks, slice, slices;
  Index tasks() const { return k_blocks * c_blocks * slices; }
};

constexpr Index kGradientK = 384, kGradientC = 192;
// Rows whose x is packed at once, and the fewest rows worth a slice.
constexpr Index kGradientRows = 128, kSliceRows = 256;
constexpr Index kGradientTasks = 16;

WeightCut cut_weight(const PointwiseProblem& p) {
  WeightCut cut;
  cut.k_block = divide_up(p.k, divide_up(p.k, kGradientK));
  cut.c_block = round_up(divide_up(p.c, divide_up(p.c, kGradientC)), kPanelWidth);
  cut.k_blocks = divide_up(p.k, cut.k_block);
  cut.c_blocks = divide_up(p.c, cut.c_block);
  const Index wanted = divide_up(kGradientTasks, cut.k_blocks * cut.c_blocks);
  const Index slices = std::clamp<Index>(p.m / kSliceRows, 1, wanted);
  cut.slice = divide_up(p.m, slices);
  cut.slices = divide_up(p.m, cut.slice);
  return cut;
}

// Rows of dy and x as a product takes them. dy of floats stays where it is.
template <class T>
struct GradientRows;

template <>
struct GradientRows<float> {
  alignas(64) float packed[kGradientRows * kGradientC];

  void take(const PointwiseProblem& p, Index rows, const float* x, const float* dy,
            MatrixBlock<float, float>& block) {
    block.depth = rows;
    block.a = dy;
    block.a_stride = p.k;
    pack_matrix(rows, block.columns, x, p.c, 1, packed);
    block.packed = packed;
    block.next_stride = p.c * Index{sizeof(float)};
  }
};

template <>
struct GradientRows<BFloat16> {
  alignas(64) BFloat16Pair packed[kGradientRows / 2 * kGradientC];
  alignas(64) BFloat16Pair pairs[kGradientRows / 2 * kGradientK];

  void take(const PointwiseProblem& p, Index rows, const BFloat16* x, const BFloat16* dy,
            MatrixBlock<BFloat16Pair, float>& block) {
    block.depth = divide_up(rows, 2);
    for (Index d = 0; d < rows; d += 2) {
      BFloat16Pair* to = pairs + d / 2 * block.rows;
      for (Index i = 0; i < block.rows; ++i) {
        const BFloat16* first = dy + d * p.k + i;
        to[i] = pair_of(*first, d + 1 < rows ? first[p.k] : BFloat16{});
      }
    }
    block.a = pairs;
    block.a_stride = block.rows;
    pack_pairs(rows, block.columns, x, p.c, 1, packed);
    block.packed = packed;
    block.next_stride = 2 * p.c * Index{sizeof(BFloat16)};
  }
};

// One rectangle of dw over one slice of rows. target has rows of p.c.
template <class T>
void weight_task(const PointwiseProblem& p, const WeightCut& cut, Index task, const T* x,
                 const T* dy, float* target) {
  const Index i = task / cut.c_blocks % cut.k_blocks * cut.k_block;
  const Index j = task % cut.c_blocks * cut.c_block;
  const Index first = task / (cut.c_blocks * cut.k_blocks) * cut.slice;
  const Index last = std::min(p.m, first + cut.slice);
  GradientRows<T> rows;
  MatrixBlock<MatrixUnit<T>, float> block;
  block.rows = std::min(cut.k_block, p.k - i);
  block.columns = std::min(cut.c_block, p.c - j);
  block.y = target + i * p.c + j;
  block.y_stride = p.c;
  for (Index row = first; row < last; row += kGradientRows) {
    rows.take(p, std::min(kGradientRows, last - row), x + row * p.c + j, dy + row * p.k + i, block);
    block.next = x + (row + kGradientRows) * p.c + j;
    current_matrix<T>().multiply_transposed(block);
    block.residual = block.y;
  }
}

// Pairs of channels cannot be of an odd number, and stores are of whole vectors.
void check_eights(const PointwiseProblem& p) {
  if (p.c % 8 != 0 || p.k % 8 != 0)
    throw ShapeError("a pointwise convolution in bf16 has channels in eights, not " +
                     std::to_string(p.c) + " to " + std::to_string(p.k));
}

}  // namespace

Index pointwise_packed_count(const PointwiseProblem& p) {
  return std::max(p.c * round_up(p.k, kPanelRounding), p.k * round_up(p.c, kPanelRounding));
}

Index pointwise_weight_scratch(const PointwiseProblem& p) {
  const WeightCut cut = cut_weight(p);
  return cut.slices == 1 ? 0 : cut.slices * p.c * p.k;
}

template <class T>
void pointwise_pack(const PointwiseProblem& p, const SumOf<T>* w, T* packed) {
  if constexpr (std::is_same_v<T, float>) {
    pack_matrix(p.c, p.k, w, 1, p.c, packed);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    check_eights(p);
    pack_pairs(p.c, p.k, w, 1, p.c, reinterpret_cast<BFloat16Pair*>(packed));
  } else {
    std::copy(w, w + p.k * p.c, packed);
  }
}

template <class T>
void pointwise_pack_transposed(const PointwiseProblem& p, const SumOf<T>* w, T* packed) {
  if constexpr (std::is_same_v<T, float>) {
    pack_matrix(p.k, p.c, w, p.c, 1, packed);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    check_eights(p);
    pack_pairs(p.k, p.c, w, p.c, 1, reinterpret_cast<BFloat16Pair*>(packed));
  } else {
    std::copy(w, w + p.k * p.c, packed);
  }
}

template <class T>
void pointwise_forward(const Context& ctx, const PointwiseProblem& p, const T* x, const T* packed,
                       const Epilogue<T>& epilogue, T* y) {
  if constexpr (!std::is_same_v<T, double>) {
    const Index depth = p.c / kChannels<T>;
    MatrixBlock<MatrixUnit<T>, T> whole{.rows = p.m,
                                        .columns = p.k,
                                        .depth = depth,
                                        .a = units(x),
                                        .a_stride = depth,
                                        .packed = units(packed),
                                        .y = y,
                                        .y_stride = p.k,
                                        .bias = epilogue.bias,
                                        .residual = epilogue.residual};
    if (epilogue.activation != Activation::None) whole.low = 0.0f;
    if (epilogue.activation == Activation::Relu6) whole.high = 6.0f;
    multiply<T>(ctx, whole);
  } else {
    const MapIn<T> w(packed, p.k, p.c);
    for_row_blocks(ctx, p.m, [&](Index first, Index rows) {
      Matrix<T> block = MapIn<T>(x + first * p.c, rows, p.c) * w.transpose();
      finish(epilogue, first, p.k, block);
      MapOut<T>(y + first * p.k, rows, p.k) = block;
    });
  }
}

template <class T>
void pointwise_backward_data(const Context& ctx, const PointwiseProblem& p, const T* dy,
                             const T* packed, Write write, T* dx) {
  if constexpr (!std::is_same_v<T, double>) {
    const Index depth = p.k / kChannels<T>;
    multiply<T>(ctx, {.rows = p.m,
                      .columns = p.c,
                      .depth = depth,
                      .a = units(dy),
                      .a_stride = depth,
                      .packed = units(packed),
                      .y = dx,
                      .y_stride = p.c,
                      .residual = write == Write::Accumulate ? dx : nullptr});
  } else {
    const MapIn<T> w(packed, p.k, p.c);
    for_row_blocks(ctx, p.m, [&](Index first, Index rows) {
      const MapIn<T> from(dy + first * p.k, rows, p.k);
      MapOut<T> to(dx + first * p.c, rows, p.c);
      if (write == Write::Overwrite) to.setZero();
      to.noalias() += from * w;
    });
  }
}

template <class T>
void pointwise_backward_weight(const Context& ctx, const PointwiseProblem& p, const T* x,
                               const T* dy, SumOf<T>* scratch, SumOf<T>* dw) {
  if constexpr (!std::is_same_v<T, double>) {
    const WeightCut cut = cut_weight(p);
    const Index count = p.k * p.c;
    parallel_for(ctx.pool, cut.tasks(), [&](Index task, int) {
      const Index slice = task / (cut.k_blocks * cut.c_blocks);
      weight_task<T>(p, cut, task, x, dy, cut.slices == 1 ? dw : scratch + slice * count);
    });
    if (cut.slices > 1) add_slices(ctx, cut.slices, count, scratch, dw);
  } else {
    const MapIn<T> in(x, p.m, p.c), out(dy, p.m, p.k);
    for_row_blocks(ctx, p.k, [&](Index first, Index rows) {
      MapOut<T> to(dw + first * p.c, rows, p.c);
      to.setZero();
      to.noalias() += out.middleCols(first, rows).transpose() * in;
    });
  }
}

DF_EVERY_ELEMENT(pointwise_pack);
DF_EVERY_ELEMENT(pointwise_pack_transposed);
DF_EVERY_ELEMENT(pointwise_forward);
DF_EVERY_ELEMENT(pointwise_backward_data);
DF_EVERY_ELEMENT(pointwise_backward_weight);

}  // namespace dfengine::cpu
