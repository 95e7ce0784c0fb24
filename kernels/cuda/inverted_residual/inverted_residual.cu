// Inverted residual blocks on tensor cores. A block of threads makes a tile of y: it holds the
// tile's part of x, and takes the expanded channels in chunks. Of each chunk it makes e for the
// tile and its rim in shared memory; then each warp filters its rows of e and adds the chunk's
// share to its sums of y. The filter too is a product, whose results lie in the lanes where the
// projection needs them.
#include "kernels/cuda/inverted_residual/inverted_residual_filter.cuh"
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

// For each fragment of e that the warp makes, two bits: whether pixels g and g + 8 of it lie in the
// image.
template <class Tile, class Work>
__device__ std::uint32_t inside_bits(const Work& work, const TilePlace& place) {
  const int g = static_cast<int>(threadIdx.x) % kWarpSize / 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  HaloWalk<Tile> low(place, 16 * warp + g, 16 * warps), high(place, 16 * warp + g + 8, 16 * warps);
  std::uint32_t bits = 0;
  std::uint32_t bit = 1;
  for (int f = warp; f < Tile::fragments(work.rows); f += warps, bit <<= 2) {
    if (low.is_inside(work.h, work.w)) bits |= bit;
    if (high.is_inside(work.h, work.w)) bits |= bit << 1;
    low.advance();
    high.advance();
  }
  return bits;
}

// e [pixels, kEPitch] of the tile and its rim; zeros outside of the image.
template <class Tile, class Work, class T>
__device__ void expand(const Work& work, const T* x, const ChunkWeights<Tile, T>& weights,
                       std::uint32_t inside, T* e) {
  constexpr int kDepths = Tile::kIn / 16, kPairs = Tile::kChunk / 16;
  // Fragments of the weights stay in registers where there is room.
  constexpr bool kStay = kDepths * kPairs <= 6;
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
  std::uint32_t bias[2 * kPairs];
#pragma unroll
  for (int j = 0; j < 2 * kPairs; ++j)
    bias[j] =
        reinterpret_cast<const std::uint32_t*>(weights.expand_bias() + 8 * j * kBiasDepths)[lane];
  const std::uint32_t ones = pack_pair<T>(1.0f, 1.0f);
  const std::uint32_t high = pair_bounds<T>(kActivation).high;
  const int fragments = Tile::fragments(work.rows);
  for (int f = static_cast<int>(threadIdx.x) / kWarpSize; f < fragments; f += warps, inside >>= 2) {
    float sums[2 * kPairs][4];
#pragma unroll
    for (int j = 0; j < 2 * kPairs; ++j)
      mma_16x8x8<T>(sums[j], ones, ones, bias[j], {0.0f, 0.0f, 0.0f, 0.0f});
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
        mma_16x8x16<T>(sums[2 * j], a, {b[0], b[1]});
        mma_16x8x16<T>(sums[2 * j + 1], a, {b[2], b[3]});
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

// Adds what a chunk of e contributes.
template <class Tile, class T>
__device__ void filter_and_project(const T* e, const ChunkWeights<Tile, T>& weights,
                                   BlockSums<Tile>& sums) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  FilterPlace<Tile, T> place(e + warp * Tile::kRows * Tile::kStride * Tile::kHalo * Tile::kEPitch,
                             weights, lane);
  const T* project = weights.project();
  const std::uint32_t high = pair_bounds<T>(kActivation).high;
#pragma unroll 1
  for (int channel = 0; channel < Tile::kChunk; channel += kGroup, project += kGroup) {
    FilteredRows<Tile> d;
    place.filter(d);
    place.advance();
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
      load_b(b, project + 16 * j * Tile::kEPitch, Tile::kEPitch, lane);
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
  const TilePlace place = tile_place<Tile, kSplit>(work);
  const int split = kSplit ? static_cast<int>(blockIdx.x) % work.splits : 0;
  int chunk = kSplit ? split * work.chunks / work.splits : 0;
  const int end = kSplit ? (split + 1) * work.chunks / work.splits : work.chunks;
  const T* from = reinterpret_cast<const T*>(work.weights) + chunk * Tile::kWeights;
  copy_weights<Tile::kExpandWeights>(from, weights.expand());  // which no kernel writes
  await_previous_kernels();
  work.input.template load<Tile>(work, place, x);
  copy_async_commit();
  clear_diagonals(weights);

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
    spread_taps(weights);
    __syncthreads();
    if (chunk + 1 < end)
      copy_weights<Tile::kExpandWeights>(from + Tile::kWeights, weights.expand());
    copy_async_commit();
    filter_and_project<Tile>(e, weights, sums);
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
          .images = in.stem.n,
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
  require_vectors(name, p.depthwise.c, {x, y, weights, scratch});
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
