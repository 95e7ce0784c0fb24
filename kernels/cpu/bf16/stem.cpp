// Stem rows in bf16. The nine inputs of a window row, 3 columns of 3 colours, are contiguous: five
// pairs, of which the last has a weight of 0 for its second half, the colour behind the window.
#include "kernels/cpu/bf16/stem.h"

#include "kernels/cpu/simd/vec.h"

namespace dfengine::cpu::DF_ISA {
namespace {

constexpr int kRowTaps = 9, kRowPairs = 5;
// From one output pixel's inputs to the next: 2 columns of 3 channels.
constexpr int kStep = 6;
constexpr int kTile = 7;  // output pixels
constexpr int kPatchColumns = 2 * kTile + 1;
constexpr int kPatchRow = 3 * kPatchColumns + 1;  // and one behind the last window

// The inputs of a tile: window row r starts at data + r * row.
struct Patch {
  const BFloat16* data;
  Index row;
};

// The image itself where the patch and one more element lie inside, else a copy in buffer
// [3, kPatchRow] with zeros around.
DF_INLINE Patch patch_of(const StemProblem& p, const BFloat16* image, Index row, Index q,
                         BFloat16* buffer) {
  const Index top = row * 2 - p.before_h, left = q * 2 - p.before_w;
  if (top >= 0 && top + 3 <= p.h && left >= 0 && left + kPatchColumns < p.w)
    return {image + (top * p.w + left) * 3, p.w * 3};
  for (Index r = 0; r < 3; ++r) {
    for (Index i = 0; i < kPatchRow; ++i) {
      const Index s = left + i / 3, line = top + r;
      const bool inside = line >= 0 && line < p.h && s >= 0 && s < p.w;
      buffer[r * kPatchRow + i] = inside ? image[(line * p.w + s) * 3 + i % 3] : BFloat16{0};
    }
  }
  return {buffer, kPatchRow};
}

// pairs [3, kRowPairs, Width] of the weights [27, K] from one channel on.
template <int Width>
void pair_up(const BFloat16* w, Index k, BFloat16Pair* pairs) {
  for (Index r = 0; r < 3; ++r) {
    for (Index i = 0; i < kRowPairs; ++i) {
      for (Index j = 0; j < Width; ++j) {
        const BFloat16* first = w + (r * kRowTaps + 2 * i) * k + j;
        const std::uint32_t second = 2 * i + 1 < kRowTaps ? first[k].bits : 0u;
        pairs[(r * kRowPairs + i) * Width + j] = {second << 16 | first->bits};
      }
    }
  }
}

// `count` output pixels of V * N channels. The epilogue's pointers and y point at the first.
template <int N, int V>
DF_INLINE void tile(const Patch& x, const BFloat16Pair* pairs, Index k, Index count,
                    const Epilogue<BFloat16>& epilogue, BFloat16* y) {
  Vec<N> sums[kTile][V];
#pragma GCC unroll 8
  for (int t = 0; t < kTile; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v)
      sums[t][v] = epilogue.bias ? load<N>(epilogue.bias + v * N) : Vec<N>{};
  }
  for (int r = 0; r < 3; ++r) {
    const BFloat16* row = x.data + r * x.row;
#pragma GCC unroll 5
    for (int i = 0; i < kRowPairs; ++i) {
#pragma GCC unroll 8
      for (int t = 0; t < kTile; ++t) {
        BFloat16Pair pair;
        __builtin_memcpy(&pair, row + t * kStep + 2 * i, sizeof(pair));
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v)
          add_product<N>(pair, load_units<N>(pairs + ((r * kRowPairs + i) * V + v) * N),
                         sums[t][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTile; ++t) {
    if (t >= count) break;
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      const Index at = t * k + v * N;
      Vec<N> sum = sums[t][v];
      if (epilogue.activation != Activation::None) sum = activate<Activation::Relu, N>(sum);
      if (epilogue.activation == Activation::Relu6) sum = activate<Activation::Relu6, N>(sum);
      if (epilogue.residual) sum += load<N>(epilogue.residual + at);
      store<N>(y + at, sum);
    }
  }
}

// Channels [first, first + V * N) of the rows.
template <int N, int V>
void block(const StemProblem& p, const BFloat16* x, const BFloat16* w,
           const Epilogue<BFloat16>& epilogue, Index first, Index begin, Index end, BFloat16* y) {
  BFloat16Pair pairs[3 * kRowPairs * V * N];
  pair_up<V * N>(w + first, p.k, pairs);
  BFloat16 buffer[3 * kPatchRow];
  for (Index row = begin; row < end; ++row) {
    const BFloat16* image = x + row / p.p * p.h * p.w * 3;
    for (Index q = 0; q < p.q; q += kTile) {
      const Patch patch = patch_of(p, image, row % p.p, q, buffer);
      const Index at = (row * p.q + q) * p.k + first;
      const Epilogue<BFloat16> own{epilogue.bias ? epilogue.bias + first : nullptr,
                                   epilogue.activation,
                                   epilogue.residual ? epilogue.residual + at : nullptr};
      tile<N, V>(patch, pairs, p.k, p.q - q, own, y + at);
    }
  }
}

}  // namespace

void stem_rows(const StemProblem& p, const BFloat16* x, const BFloat16* w,
               const Epilogue<BFloat16>& epilogue, Index begin, Index end, BFloat16* y) {
  Index k = 0;
  for (; k + 32 <= p.k; k += 32) block<16, 2>(p, x, w, epilogue, k, begin, end, y);
  for (; k + 16 <= p.k; k += 16) block<16, 1>(p, x, w, epilogue, k, begin, end, y);
  for (; k < p.k; k += 8) block<8, 1>(p, x, w, epilogue, k, begin, end, y);
}

}  // namespace dfengine::cpu::DF_ISA
