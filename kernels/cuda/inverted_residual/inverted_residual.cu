// Inverted residual blocks on tensor cores. A block of threads makes a tile of y: it holds the
// tile's part of x, and takes the expanded channels in chunks. Of each chunk it makes e for the tile
// and its rim in shared memory; then each warp filters its rows of e into the fragments with which it
// adds the chunk's share to its sums of y.
#include <algorithm>

#include "kernels/cuda/inverted_residual/inverted_residual_input.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

// Copies rows x columns of a matrix; what is not valid becomes zeros.
template <int kRows, int kColumns, int kPitch, class T>
__device__ __forceinline__ void copy_matrix(const T* from, int pitch, int valid_rows,
                                            int valid_columns, T* to) {
  constexpr int kStep = 16 / static_cast<int>(sizeof(T)), kPerRow = kColumns / kStep;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPerRow;
       i += static_cast<int>(blockDim.x)) {
    const int row = i / kPerRow, column = i % kPerRow * kStep;
    const bool valid = row < valid_rows && column < valid_columns;
    copy_async16(to + row * kPitch + column, valid ? from + Index{row} * pitch + column : from,
                 valid);
  }
}

template <class Tile, class Work, class T>
__device__ void copy_chunk(const Work& work, int first, const ChunkWeights<Tile, T>& to) {
  constexpr int kChunk = Tile::kChunk;
  const InvertedResidualWeights<T>& w = work.weights;
  const int left = work.wide - first;
  copy_matrix<kChunk, Tile::kIn, Tile::kXPitch>(w.expand + Index{first} * work.in, work.in, left,
                                                work.in, to.expand());
  copy_matrix<9, kChunk, kChunk>(w.depthwise + first, work.wide, 9, left, to.taps());
  copy_matrix<Tile::kOut, kChunk, kProjectPitch>(w.project + first, work.wide, work.out, left,
                                                 to.project());
  copy_matrix<1, kChunk, kChunk>(w.expand_bias + first, 0, 1, left, to.expand_bias());
  copy_matrix<1, kChunk, kChunk>(w.depthwise_bias + first, 0, 1, left, to.depthwise_bias());
}

// e [pixels, kChunk] of the tile and its rim; zeros outside of the image.
template <class Tile, class Work, class T>
__device__ void expand(const Work& work, const TilePlace& place, const T* x,
                       const ChunkWeights<Tile, T>& weights, T* e) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  const int fragments = Tile::fragments(work.rows);
  constexpr int kChunk = Tile::kChunk;
  for (int f = static_cast<int>(threadIdx.x) / kWarpSize; f < fragments; f += warps) {
    float sums[kChunk / 8][4];
#pragma unroll
    for (int j = 0; j < kChunk / 8; ++j) {
      const float* const bias = weights.expand_bias() + 8 * j + 2 * t;
      sums[j][0] = sums[j][2] = bias[0];
      sums[j][1] = sums[j][3] = bias[1];
    }
#pragma unroll
    for (int d = 0; d < Tile::kIn; d += 16) {
      std::uint32_t a[4];
      load_a(a, x + 16 * f * Tile::kXPitch + d, Tile::kXPitch, lane);
#pragma unroll
      for (int j = 0; j < kChunk / 16; ++j) {
        std::uint32_t b[4];
        load_b(b, weights.expand() + 16 * j * Tile::kXPitch + d, Tile::kXPitch, lane);
        mma_16x8x16<T>(sums[2 * j], a, {b[0], b[1]});
        mma_16x8x16<T>(sums[2 * j + 1], a, {b[2], b[3]});
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int pixel = 16 * f + g + 8 * half;
      const bool inside = is_inside<Tile>(work, place, pixel);
      T* const to = e + pixel * Tile::kEPitch + 2 * t;
#pragma unroll
      for (int j = 0; j < kChunk / 8; ++j) {
        const std::uint32_t pair = pack_pair<T>(clamp(work.expanded, sums[j][2 * half]),
                                                clamp(work.expanded, sums[j][2 * half + 1]));
        *reinterpret_cast<std::uint32_t*>(to + 8 * j) = inside ? pair : 0;
      }
    }
  }
}

// The two columns of a tile whose pixels are rows g and g + 8 of a lane's fragments. Neighbours
// share two of their three columns of e; at stride 2 they would lie in the same banks.
template <class Tile>
__device__ __forceinline__ int column_of(int g, int which) {
  return Tile::kStride == 1 ? 2 * g + which : g + 8 * which;
}

// Filters four channels of the warp's rows of y, two pixels each. e: the warp's first row.
template <class Tile, class T>
__device__ __forceinline__ void filter(const T* e, const T* taps, const float* bias, int g,
                                       float (&d)[Tile::kRows][2][4]) {
  float w[9][4];
#pragma unroll
  for (int i = 0; i < 9; ++i) load4(taps + i * Tile::kChunk, w[i]);
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r)
#pragma unroll
    for (int c = 0; c < 4; ++c) d[r][0][c] = d[r][1][c] = bias[c];
  // Column j of e for pixel `which`; at stride 1 both share columns.
  constexpr int kInputs = Tile::kStride == 1 ? 4 : 6;
#pragma unroll
  for (int i = 0; i < Tile::kInputRows; ++i) {
    float row[kInputs][4];
#pragma unroll
    for (int j = 0; j < kInputs; ++j) {
      const int column =
          Tile::kStride == 1 ? column_of<Tile>(g, 0) + j : 2 * column_of<Tile>(g, j / 3) + j % 3;
      load4(e + (i * Tile::kHalo + column) * Tile::kEPitch, row[j]);
    }
#pragma unroll
    for (int r = 0; r < Tile::kRows; ++r) {
      const int tap = i - r * Tile::kStride;
      if (tap < 0 || tap > 2) continue;
#pragma unroll
      for (int which = 0; which < 2; ++which)
#pragma unroll
        for (int s = 0; s < 3; ++s)
#pragma unroll
          for (int c = 0; c < 4; ++c)
            d[r][which][c] = fmaf(row[(Tile::kStride == 1 ? 1 : 3) * which + s][c],
                                  w[3 * tap + s][c], d[r][which][c]);
    }
  }
}

// sums[row][j]: the warp's rows of y, 16 pixels x 8 channels each.
template <class Tile>
using BlockSums = float[Tile::kRows][Tile::kOut / 8][4];

// Adds what a chunk of e contributes. In 16 channels a lane filters four neighbours, which stand for
// the depths 2t, 2t + 1, 2t + 8 and 2t + 9 of the fragments of both d and the weights.
template <class Tile, class Work, class T>
__device__ void filter_and_project(const Work& work, const T* e,
                                   const ChunkWeights<Tile, T>& weights, BlockSums<Tile>& sums) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  e += warp * Tile::kRows * Tile::kStride * Tile::kHalo * Tile::kEPitch;
#pragma unroll 1
  for (int channel = 4 * t; channel < Tile::kChunk; channel += 16) {
    float d[Tile::kRows][2][4];
    filter<Tile>(e + channel, weights.taps() + channel, weights.depthwise_bias() + channel, g, d);
    std::uint32_t a[Tile::kRows][4];
#pragma unroll
    for (int r = 0; r < Tile::kRows; ++r)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* const pair = d[r][i % 2] + i / 2 * 2;
        a[r][i] = pack_pair<T>(clamp(work.filtered, pair[0]), clamp(work.filtered, pair[1]));
      }
#pragma unroll
    for (int j = 0; j < Tile::kOut / 8; ++j) {
      const uint2 b = *reinterpret_cast<const uint2*>(weights.project() +
                                                      (8 * j + g) * kProjectPitch + channel);
#pragma unroll
      for (int r = 0; r < Tile::kRows; ++r) mma_16x8x16<T>(sums[r][j], a[r], {b.x, b.y});
    }
  }
}

// The warp's rows: adds the residual from the tile's x, turns fragments into rows in `stage` and
// stores sixteen bytes a lane.
template <class Tile, class Work, class T>
__device__ void store_rows(const Work& work, const TilePlace& place, const T* x,
                           const BlockSums<Tile>& sums, T* stage) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  constexpr int kPerPixel = Tile::kOut / kVector;
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    const int row = warp * Tile::kRows + r;
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      const int column = column_of<Tile>(g, which);
      const T* const skip =
          x + ((row + work.before_h) * Tile::kHalo + column + work.before_w) * Tile::kXPitch;
#pragma unroll
      for (int j = 0; j < Tile::kOut / 8; ++j) {
        const int channel = 8 * j + 2 * t;
        float left = sums[r][j][2 * which], right = sums[r][j][2 * which + 1];
        if (work.residual && channel < work.out) {
          left += to_float(skip[channel]);
          right += to_float(skip[channel + 1]);
        }
        *reinterpret_cast<std::uint32_t*>(stage + column * Tile::kOutPitch + channel) =
            pack_pair<T>(left, right);
      }
    }
    __syncwarp();
    const int p = place.p + row;
    T* const to = work.y + ((Index{place.image} * work.p + p) * work.q + place.q) * work.out;
    for (int i = lane; i < kTileColumns * kPerPixel; i += kWarpSize) {
      const int column = i / kPerPixel, channel = i % kPerPixel * kVector;
      if (p < work.p && place.q + column < work.q && channel < work.out)
        *reinterpret_cast<uint4*>(to + column * work.out + channel) =
            *reinterpret_cast<const uint4*>(stage + column * Tile::kOutPitch + channel);
    }
    __syncwarp();
  }
}

template <class Tile, class Work>
__global__ void __launch_bounds__(kMostWarps* kWarpSize, 2) inverted_residual_kernel(Work work) {
  using T = typename Work::Value;
  constexpr int kChunk = Tile::kChunk;
  DF_DYNAMIC_SHARED(shared);
  T* const x = reinterpret_cast<T*>(shared);
  T* const e = x + 16 * Tile::fragments(work.rows) * Tile::kXPitch;
  T* const weights = e + 16 * Tile::fragments(work.rows) * Tile::kEPitch;
  const TilePlace place = tile_place<Tile>(work);
  work.input.template load<Tile>(work, place, x);
  copy_chunk(work, 0, ChunkWeights<Tile, T>{weights});
  copy_async_commit();

  BlockSums<Tile> sums;
#pragma unroll
  for (int j = 0; j < Tile::kOut / 8; ++j) {
    const int channel = 8 * j + static_cast<int>(threadIdx.x) % 4 * 2;
    const bool used = channel < work.out;
#pragma unroll
    for (int r = 0; r < Tile::kRows; ++r) {
      sums[r][j][0] = sums[r][j][2] = used ? work.weights.project_bias[channel] : 0.0f;
      sums[r][j][1] = sums[r][j][3] = used ? work.weights.project_bias[channel + 1] : 0.0f;
    }
  }
  int now = 0;  // which of the two chunks of weights
  for (int first = 0; first < work.wide; first += kChunk, now = 1 - now) {
    copy_async_wait<0>();
    __syncthreads();
    const ChunkWeights<Tile, T> chunk{weights + now * Tile::kWeights};
    if (first + kChunk < work.wide)
      copy_chunk(work, first + kChunk, ChunkWeights<Tile, T>{weights + (1 - now) * Tile::kWeights});
    copy_async_commit();
    expand<Tile>(work, place, x, chunk, e);
    __syncthreads();
    filter_and_project<Tile>(work, e, chunk, sums);
  }
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  store_rows<Tile>(work, place, x, sums, e + warp * kTileColumns * Tile::kOutPitch);
}

// Calls body(Tile) for the smallest tile that takes the problem; false where there is none.
template <class Body>
bool with_tile(const InvertedResidualProblem& p, Body&& body) {
  const bool first = p.depthwise.stride == 1;
  const auto for_stride = [&](auto one, auto two) {
    if (first)
      body(one);
    else
      body(two);
    return true;
  };
  if (p.in % kVector != 0 || p.out % kVector != 0 || p.depthwise.c % kVector != 0) return false;
  if (p.residual && (!first || p.in != p.out || p.pixels)) return false;
  if (p.pixels) {
    if (!first || p.out > 32) return false;
    if (p.out <= 16)
      body(BlockTile<PixelInput::kDepth, 16, 1, 32>{});
    else
      body(BlockTile<PixelInput::kDepth, 32, 1, 32>{});
    return true;
  }
  if (p.in <= 16 && p.out <= 32)
    return for_stride(BlockTile<16, 32, 1, 48>{}, BlockTile<16, 32, 2, 48>{});
  if (p.in <= 32 && p.out <= 32)
    return for_stride(BlockTile<32, 32, 1, 48>{}, BlockTile<32, 32, 2, 48>{});
  if (p.in <= 64 && p.out <= 64)
    return for_stride(BlockTile<64, 64, 1, 48>{}, BlockTile<64, 64, 2, 48>{});
  return false;
}

template <class Tile, class Work>
void launch_work(Stream stream, const char* name, const InvertedResidualConfig& config,
                 const InvertedResidualProblem& p, Work work) {
  const DepthwiseProblem& d = p.depthwise;
  work.rows = config.warps * Tile::kRows;
  const Index row_tiles = divide_up(d.p, Index{work.rows});
  const Index column_tiles = divide_up(d.q, Index{kTileColumns});
  work.row_tiles = static_cast<int>(row_tiles);
  work.column_tiles = static_cast<int>(column_tiles);
  launch(stream, name, inverted_residual_kernel<Tile, Work>, blocks(d.n * row_tiles * column_tiles),
         static_cast<unsigned>(config.warps * kWarpSize),
         static_cast<std::size_t>(Tile::shared_bytes(work.rows)), work);
}

template <class T, class Input>
BlockWork<T, Input> make_work(const InvertedResidualProblem& p, const Input& input,
                              const InvertedResidualWeights<T>& weights, T* y) {
  const DepthwiseProblem& d = p.depthwise;
  return {.input = input,
          .weights = weights,
          .y = y,
          .h = static_cast<int>(d.h),
          .w = static_cast<int>(d.w),
          .p = static_cast<int>(d.p),
          .q = static_cast<int>(d.q),
          .before_h = static_cast<int>(d.before_h),
          .before_w = static_cast<int>(d.before_w),
          .in = static_cast<int>(p.in),
          .wide = static_cast<int>(d.c),
          .out = static_cast<int>(p.out),
          .expanded = p.expanded,
          .filtered = p.filtered,
          .residual = p.residual};
}

template <class T>
PixelWindows<T> windows(const PixelInput& in, const void* x) {
  return {.pixels = static_cast<const std::uint8_t*>(x),
          .h = static_cast<int>(in.stem.h),
          .w = static_cast<int>(in.stem.w),
          .before_h = static_cast<int>(in.stem.before_h),
          .before_w = static_cast<int>(in.stem.before_w),
          .affine = in.affine};
}

}  // namespace

std::vector<InvertedResidualConfig> inverted_residual_configs(const InvertedResidualProblem& p,
                                                              std::size_t limit) {
  struct Offer {
    InvertedResidualConfig config;
    bool alone;    // a second block does not fit beside it
    Index e_rows;  // of all tiles of a column, rims and what lies outside of the image included
  };
  std::vector<Offer> offers;
  with_tile(p, [&](auto tile) {
    using Tile = decltype(tile);
    constexpr std::size_t kReserved = 1 << 10;  // of each block, by the driver
    for (int warps = kMostWarps; warps >= kMostWarps / 2; --warps) {
      const int rows = warps * Tile::kRows;
      const auto bytes = static_cast<std::size_t>(Tile::shared_bytes(rows));
      if (bytes > limit) continue;
      offers.push_back({{warps},
                        2 * (bytes + kReserved) > limit + kReserved,
                        divide_up(p.depthwise.p, Index{rows}) * Tile::halo_rows(rows)});
    }
  });
  const auto order = [](const Offer& offer) { return std::pair(offer.alone, offer.e_rows); };
  std::ranges::stable_sort(offers, {}, order);
  std::vector<InvertedResidualConfig> configs;
  for (const Offer& offer : offers) configs.push_back(offer.config);
  return configs;
}

template <class T>
void inverted_residual(Stream stream, const InvertedResidualConfig& config,
                       const InvertedResidualProblem& p, const void* x,
                       const InvertedResidualWeights<T>& weights, T* y) {
  const char* const name = "inverted residual";
  require_vectors(name, p.depthwise.c,
                  {p.pixels ? nullptr : x, y, weights.expand, weights.expand_bias,
                   weights.depthwise, weights.depthwise_bias, weights.project});
  const bool found = with_tile(p, [&](auto tile) {
    using Tile = decltype(tile);
    if constexpr (Tile::kChunk == 32)
      launch_work<Tile>(stream, name, config, p,
                        make_work(p, windows<T>(*p.pixels, x), weights, y));
    else
      launch_work<Tile>(
          stream, name, config, p,
          make_work(p, TensorInput<T>{static_cast<const T*>(x), static_cast<int>(p.in)}, weights,
                    y));
  });
  if (!found) throw ShapeError(std::string(name) + " on the device: no kernel for these channels");
}

#define DF_INSTANTIATE(T)                                                      \
  template void inverted_residual(Stream, const InvertedResidualConfig&,       \
                                  const InvertedResidualProblem&, const void*, \
                                  const InvertedResidualWeights<T>&, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
