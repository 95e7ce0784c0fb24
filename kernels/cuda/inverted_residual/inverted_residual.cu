// Inverted residual blocks on tensor cores. A block of threads makes a tile of y: it holds the
// tile's part of x, and takes the expanded channels in chunks. Of each chunk it makes e for the tile
// and its rim in shared memory; then each warp filters its rows of e and adds the chunk's share to
// its sums of y. The filter too is a product: of 16 pixels of e, moved by a tap, and the diagonal
// matrix of the tap's weights. Its results lie in the lanes where the projection needs them.
#include "kernels/cuda/inverted_residual/inverted_residual_input.cuh"
#include "kernels/cuda/inverted_residual/inverted_residual_output.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

// Starts copying kCount elements.
template <int kCount, class T>
__device__ __forceinline__ void copy_weights(const T* from, T* to) {
  static_assert(kCount % kVector == 0);
  for (int i = static_cast<int>(threadIdx.x) * kVector; i < kCount;
       i += static_cast<int>(blockDim.x) * kVector)
    copy_async16(to + i, from + i, true);
}

// The biases of a pair of channels, as the rows g and g + 8 of a fragment have them.
__device__ __forceinline__ void load_biases(const float* pair, float (&v)[4]) {
  const uint2 words = *reinterpret_cast<const uint2*>(pair);
  union {
    std::uint32_t bits;
    float value;
  } left = {words.x}, right = {words.y};
  v[0] = v[2] = left.value;
  v[1] = v[3] = right.value;
}

// For each fragment of e that the warp makes, two bits: whether pixels g and g + 8 of it lie in the
// image.
template <class Tile, class Work>
__device__ std::uint32_t inside_bits(const Work& work, const TilePlace& place) {
  const int g = static_cast<int>(threadIdx.x) % kWarpSize / 4;
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  std::uint32_t bits = 0;
  int at = 0;
  for (int f = static_cast<int>(threadIdx.x) / kWarpSize; f < Tile::fragments(work.rows);
       f += warps)
    for (int which = 0; which < 2; ++which, ++at)
      if (HaloPixel<Tile>(place, 16 * f + g + 8 * which).is_inside(work.h, work.w))
        bits |= 1U << at;
  return bits;
}

// e [pixels, kEPitch] of the tile and its rim; zeros outside of the image.
template <class Tile, class Work, class T>
__device__ void expand(const Work& work, const T* x, const ChunkWeights<Tile, T>& weights,
                       std::uint32_t inside, T* e) {
  constexpr int kDepths = Tile::kIn / 16, kPairs = Tile::kChunk / 16;
  // Fragments of the weights stay in registers where there is room, and biases where there is more.
  constexpr int kFragments = 4 * kDepths * kPairs, kSums = Tile::kRows * Tile::kOut / 2;
  constexpr bool kStay = kFragments <= 24, kBiasesStay = kFragments + kSums <= 48;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  const auto load = [&](int d, int j, std::uint32_t(&b)[4]) {
    load_b(b, weights.expand() + 16 * j * Tile::kXPitch + 16 * d, Tile::kXPitch, lane);
  };
  std::uint32_t staying[kStay ? kDepths : 1][kStay ? kPairs : 1][4];
  if constexpr (kStay) {
#pragma unroll
    for (int d = 0; d < kDepths; ++d)
#pragma unroll
      for (int j = 0; j < kPairs; ++j) load(d, j, staying[d][j]);
  }
  float bias[2 * kPairs][4];
  const auto load_bias = [&](int j) {
    load_biases(weights.expand_bias() + 8 * j + 2 * t, bias[j]);
  };
  if constexpr (kBiasesStay) {
#pragma unroll
    for (int j = 0; j < 2 * kPairs; ++j) load_bias(j);
  }
  const std::uint32_t high = pair_bounds<T>(work.expanded).high;
  const int fragments = Tile::fragments(work.rows);
  for (int f = static_cast<int>(threadIdx.x) / kWarpSize; f < fragments; f += warps, inside >>= 2) {
    float sums[2 * kPairs][4];
#pragma unroll
    for (int d = 0; d < kDepths; ++d) {
      std::uint32_t a[4];
      work.input.template fragment<Tile>(x, 16 * f, 16 * d, lane, a);
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        std::uint32_t b[4];
        if constexpr (kStay) {
#pragma unroll
          for (int i = 0; i < 4; ++i) b[i] = staying[d][j][i];
        } else {
          load(d, j, b);
        }
        if (!kBiasesStay && d == 0) {
          load_bias(2 * j);
          load_bias(2 * j + 1);
        }
        mma_16x8x16<T>(sums[2 * j], a, {b[0], b[1]}, d == 0 ? bias[2 * j] : sums[2 * j]);
        mma_16x8x16<T>(sums[2 * j + 1], a, {b[2], b[3]},
                       d == 0 ? bias[2 * j + 1] : sums[2 * j + 1]);
      }
    }
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      // Outside of the image both bounds are zero.
      const std::uint32_t here = (inside >> which & 1U) != 0 ? high : 0;
      T* const to = e + (16 * f + g + 8 * which) * Tile::kEPitch + 2 * t;
#pragma unroll
      for (int j = 0; j < 2 * kPairs; ++j)
        *reinterpret_cast<std::uint32_t*>(to + 8 * j) =
            pack_positive<T>(sums[j][2 * which], sums[j][2 * which + 1], here);
    }
  }
}

// The diagonal matrices of 16 channels' taps, as fragments B of 8 channels each.
template <class Tile, class T>
__device__ __forceinline__ void load_taps(const ChunkWeights<Tile, T>& weights, int channel, int g,
                                          int t, std::uint32_t (&w)[2][kTapWords]) {
  const std::uint32_t diagonal = g / 2 != t ? 0U : g % 2 == 0 ? 0x0000FFFFU : 0xFFFF0000U;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const auto* const from =
        reinterpret_cast<const uint4*>(weights.taps() + (channel / 2 + 4 * half + t) * kTapWords);
#pragma unroll
    for (int row = 0; row < 3; ++row) {
      const uint4 words = from[row];
      w[half][4 * row] = words.x & diagonal, w[half][4 * row + 1] = words.y & diagonal;
      w[half][4 * row + 2] = half == 0 ? words.z & diagonal : 0;
      w[half][4 * row + 3] = half == 1 ? words.w & diagonal : 0;
    }
  }
}

// 16 pixels of a row of e as fragments A: of each half of 16 channels the pixels under the first tap and
// under the second, and of both halves those under the third.
struct RowFragments {
  std::uint32_t pairs[2][4], third[4];
};
template <class Tile, class T>
__device__ __forceinline__ void load_row(const T* e, int lane, RowFragments& a) {
  const T* const pair = e + (lane % 16 + lane / 16 * Tile::place_of(1)) * Tile::kEPitch;
  load_matrices(a.pairs[0], pair);
  load_matrices(a.pairs[1], pair + 8);
  load_a(a.third, e + Tile::place_of(2) * Tile::kEPitch, Tile::kEPitch, lane);
}

// d = c + three taps of a row of the window times a row of e. Two taps of eight channels make up one
// depth of 16; the third meets zeros in the other half of the channels.
template <class T>
__device__ __forceinline__ void filter_row(const RowFragments& a,
                                           const std::uint32_t (&w)[2][kTapWords], int row,
                                           const float (&c)[2][4], float (&d)[2][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    mma_16x8x16<T>(d[half], a.pairs[half], {w[half][4 * row], w[half][4 * row + 1]}, c[half]);
    mma_16x8x16<T>(d[half], a.third, {w[half][4 * row + 2], w[half][4 * row + 3]});
  }
}

// Adds what a chunk of e contributes.
template <class Tile, class Work, class T>
__device__ void filter_and_project(const Work& work, const T* e,
                                   const ChunkWeights<Tile, T>& weights, BlockSums<Tile>& sums) {
  constexpr int kInputRows = (Tile::kRows - 1) * Tile::kStride + 3;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  e += warp * Tile::kRows * Tile::kStride * Tile::kHalo * Tile::kEPitch;
  const std::uint32_t high = pair_bounds<T>(work.filtered).high;
#pragma unroll 1
  for (int channel = 0; channel < Tile::kChunk; channel += 16) {
    std::uint32_t w[2][kTapWords];
    load_taps(weights, channel, g, t, w);
    float bias[2][4], d[Tile::kRows][2][4];
    load_biases(weights.depthwise_bias() + channel + 2 * t, bias[0]);
    load_biases(weights.depthwise_bias() + channel + 8 + 2 * t, bias[1]);
#pragma unroll
    for (int i = 0; i < kInputRows; ++i) {
      RowFragments row;
      load_row<Tile>(e + i * Tile::kHalo * Tile::kEPitch + channel, lane, row);
#pragma unroll
      for (int r = 0; r < Tile::kRows; ++r) {
        const int tap = i - r * Tile::kStride;
        if (tap >= 0 && tap < 3) filter_row<T>(row, w, tap, tap == 0 ? bias : d[r], d[r]);
      }
    }
    std::uint32_t a[Tile::kRows][4];
#pragma unroll
    for (int r = 0; r < Tile::kRows; ++r)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* const pair = d[r][i / 2] + i % 2 * 2;
        a[r][i] = pack_positive<T>(pair[0], pair[1], high);
      }
#pragma unroll
    for (int j = 0; j < Tile::kOut / 16; ++j) {
      std::uint32_t b[4];
      load_b(b, weights.project() + 16 * j * Tile::kEPitch + channel, Tile::kEPitch, lane);
#pragma unroll
      for (int r = 0; r < Tile::kRows; ++r) {
        mma_16x8x16<T>(sums[r][2 * j], a[r], {b[0], b[1]});
        mma_16x8x16<T>(sums[r][2 * j + 1], a[r], {b[2], b[3]});
      }
    }
  }
}

// The projection's, behind the chunks.
template <class Tile, class Work>
__device__ __forceinline__ const float* project_biases(const Work& work) {
  return reinterpret_cast<const float*>(work.weights + Index{work.chunks} * Tile::kWeights *
                                                           Index{sizeof(typename Work::Value)});
}

template <class Tile, class Work>
__device__ __forceinline__ void start_sums(const Work& work, int lane, BlockSums<Tile>& sums) {
#pragma unroll
  for (int j = 0; j < Tile::kOut / 8; ++j) {
    const float* const pair = project_biases<Tile>(work) + 8 * j + lane % 4 * 2;
#pragma unroll
    for (int r = 0; r < Tile::kRows; ++r) {
      sums[r][j][0] = sums[r][j][2] = pair[0];
      sums[r][j][1] = sums[r][j][3] = pair[1];
    }
  }
}

template <class Tile, bool kSplit, class Work>
__global__ void __launch_bounds__(kMostWarps* kWarpSize, Tile::kBlocks)
    inverted_residual_kernel(Work work) {
  admit_next_kernel();
  using T = typename Work::Value;
  DF_DYNAMIC_SHARED(shared);
  T* const x = reinterpret_cast<T*>(shared);
  T* const e = x + Tile::input_elements(work.rows);
  const ChunkWeights<Tile, T> weights{e + 16 * Tile::fragments(work.rows) * Tile::kEPitch};
  const TilePlace place = tile_place<Tile>(work);
  const int split = kSplit ? static_cast<int>(blockIdx.x) % work.splits : 0;
  int chunk = kSplit ? split * work.chunks / work.splits : 0;
  const int end = kSplit ? (split + 1) * work.chunks / work.splits : work.chunks;
  const T* from = reinterpret_cast<const T*>(work.weights) + chunk * Tile::kWeights;
  copy_weights<Tile::kExpandWeights>(from, weights.expand());  // which no kernel writes
  await_previous_kernels();
  work.input.template load<Tile>(work, place, x);
  copy_async_commit();

  BlockSums<Tile> sums = {};
  if constexpr (!kSplit) start_sums<Tile>(work, static_cast<int>(threadIdx.x) % kWarpSize, sums);
  const std::uint32_t inside = inside_bits<Tile>(work, place);
  // Each half of the weights is copied while the other one is used.
  for (; chunk < end; ++chunk, from += Tile::kWeights) {
    copy_async_wait<0>();
    __syncthreads();
    copy_weights<Tile::kOtherWeights>(from + Tile::kExpandWeights, weights.others());
    copy_async_commit();
    expand<Tile>(work, x, weights, inside, e);
    copy_async_wait<0>();
    __syncthreads();
    if (chunk + 1 < end)
      copy_weights<Tile::kExpandWeights>(from + Tile::kWeights, weights.expand());
    copy_async_commit();
    filter_and_project<Tile>(work, e, weights, sums);
  }
  if constexpr (kSplit) {
    if (work.parts != nullptr) return store_part<Tile>(work, place, split, sums);
    __syncthreads();
    return store_sums_of_cluster<Tile>(work, place, split, project_biases<Tile>(work), sums,
                                       reinterpret_cast<float*>(shared));
  }
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  store_rows<Tile>(work, place, x, sums, e + warp * kTileColumns * Tile::kOutPitch);
}

template <class Tile, class T, class Input>
void launch_work(Stream stream, const char* name, const InvertedResidualConfig& config,
                 const InvertedResidualProblem& p, const Input& input, const void* x,
                 const void* weights, void* scratch, T* y) {
  const DepthwiseProblem& d = p.depthwise;
  const int chunks = static_cast<int>(divide_up(d.c, Index{Tile::kChunk}));
  if (config.splits < 1 || config.splits > (Tile::kPixels ? 1 : chunks) ||
      (config.cluster && config.splits > kMostBlocksOfCluster))
    throw Error(std::string(name) + " on the device: " + std::to_string(config.splits) +
                (config.cluster ? " blocks of a cluster share " : " splits of ") +
                std::to_string(chunks) + " chunks");
  const int rows = config.warps * Tile::kRows;
  const Index row_tiles = divide_up(d.p, Index{rows});
  const Index column_tiles = divide_up(d.q, Index{kTileColumns});
  const BlockWork<T, Input> work{.input = input,
                                 .weights = static_cast<const std::byte*>(weights),
                                 .y = y,
                                 .h = static_cast<int>(d.h),
                                 .w = static_cast<int>(d.w),
                                 .p = static_cast<int>(d.p),
                                 .q = static_cast<int>(d.q),
                                 .before_h = static_cast<int>(d.before_h),
                                 .before_w = static_cast<int>(d.before_w),
                                 .chunks = chunks,
                                 .out = static_cast<int>(p.out),
                                 .splits = config.splits,
                                 .parts = config.cluster ? nullptr : static_cast<float*>(scratch),
                                 .rows = rows,
                                 .row_tiles = static_cast<int>(row_tiles),
                                 .column_tiles = static_cast<int>(column_tiles),
                                 .expanded = p.expanded,
                                 .filtered = p.filtered,
                                 .residual = p.residual};
  const auto start = [&](auto kernel) {
    launch_clusters(stream, name, config.cluster ? static_cast<unsigned>(config.splits) : 1, kernel,
                    blocks(d.n * row_tiles * column_tiles * config.splits),
                    static_cast<unsigned>(config.warps * kWarpSize),
                    static_cast<std::size_t>(Tile::shared_bytes(rows, config.cluster)), work);
  };
  if (config.splits == 1) return start(inverted_residual_kernel<Tile, false, BlockWork<T, Input>>);
  if constexpr (!Tile::kPixels) {
    start(inverted_residual_kernel<Tile, true, BlockWork<T, Input>>);
    if (config.cluster) return;
    const Index count = p.output().count();
    const auto* const bias = reinterpret_cast<const float*>(
        work.weights + Index{chunks} * Tile::kWeights * Index{sizeof(T)});
    launch(stream, "inverted residual: sum of its parts", sum_parts_kernel<T>,
           blocks(divide_up(count, Index{kSumThreads} * kVector)), kSumThreads, 0, count, work.out,
           config.splits, work.parts, bias, p.residual ? static_cast<const T*>(x) : nullptr, y);
  }
}

template <class T>
PixelPatch<T> patch(const PixelInput& in, const void* x) {
  return {.pixels = static_cast<const std::uint8_t*>(x),
          .h = static_cast<int>(in.stem.h),
          .w = static_cast<int>(in.stem.w),
          .before_h = static_cast<int>(in.stem.before_h),
          .before_w = static_cast<int>(in.stem.before_w),
          .affine = in.affine};
}

}  // namespace

template <class T>
void inverted_residual(Stream stream, const InvertedResidualConfig& config,
                       const InvertedResidualProblem& p, const void* x, const void* weights,
                       void* scratch, T* y) {
  const char* const name = "inverted residual";
  require_vectors(name, p.depthwise.c, {p.pixels ? nullptr : x, y, weights, scratch});
  const bool found = with_tile(p, [&](auto tile) {
    using Tile = decltype(tile);
    if constexpr (Tile::kPixels)
      launch_work<Tile>(stream, name, config, p, patch<T>(*p.pixels, x), x, weights, scratch, y);
    else
      launch_work<Tile>(stream, name, config, p,
                        TensorInput<T>{static_cast<const T*>(x), static_cast<int>(p.in)}, x,
                        weights, scratch, y);
  });
  if (!found) throw ShapeError(std::string(name) + " on the device: no kernel for these channels");
}

#define DF_INSTANTIATE(T)                                                                          \
  template void inverted_residual(Stream, const InvertedResidualConfig&,                           \
                                  const InvertedResidualProblem&, const void*, const void*, void*, \
                                  T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
