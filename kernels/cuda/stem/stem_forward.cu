// Stem convolution on the GPU: a block computes 16 x 16 outputs of up to 32 channels from input and
// weights in shared memory, a thread 4 neighbouring outputs of 8 channels.
#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"
#include "kernels/cuda/stem/stem.cuh"

namespace dfengine::cuda {
namespace {

using namespace stem;

constexpr int kThreads = 128;
constexpr int kBlocksPerSm = 5;
constexpr int kColumns = 4;
constexpr int kQuads = kTile * kTile / kColumns;
constexpr int kTaps = 27;
template <int Stride>
constexpr int kSharedBytes = (TileInput<Stride>::kCount + kTaps * kTileChannels) * sizeof(float);

// weights [27, kTileChannels] = those of the block's channels.
template <class T>
__device__ __forceinline__ void load_weights(const StemWork& work, int first_channel, int groups,
                                             const T* w, float* weights) {
  for (int i = static_cast<int>(threadIdx.x); i < kTaps * groups; i += kThreads) {
    const int tap = i / groups, channel = i % groups * kVector;
    float v[kVector];
    load8(w + tap * work.k + first_channel + channel, v);
    store8(weights + tap * kTileChannels + channel, v);
  }
}

// sum[j] = outputs (row, column + j) of the tile in the eight channels that weights begin at.
template <int Stride>
__device__ __forceinline__ void convolve(const float* input, const float* weights, int row,
                                         int column, float (&sum)[kColumns][kVector]) {
#pragma unroll
  for (int r = 0; r < 3; ++r) {
    float x[(3 * Stride * (kColumns - 1) + 9 + 3) / 4 * 4];
    load_values(input + (Stride * row + r) * TileInput<Stride>::kPitch + 3 * Stride * column, x);
#pragma unroll
    for (int tap = 0; tap < 9; ++tap) {
      float w[kVector];
      load8(weights + (r * 9 + tap) * kTileChannels, w);
#pragma unroll
      for (int j = 0; j < kColumns; ++j)
#pragma unroll
        for (int i = 0; i < kVector; ++i)
          sum[j][i] = fmaf(x[3 * Stride * j + tap], w[i], sum[j][i]);
    }
  }
}

// x [n, h, w, 3], w [3, 3, 3, k], y [n, p, q, k]. The residual may be y: no __restrict__ there.
template <int Stride, class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    stem_kernel(StemWork work, const T* __restrict__ x, const T* __restrict__ w,
                Epilogue<T, float> epilogue, T* y) {
  DF_DYNAMIC_SHARED(memory);
  auto* const input = reinterpret_cast<float*>(memory);
  float* const weights = input + TileInput<Stride>::kCount;
  const Tile tile = tile_of(work, blockIdx.x / work.channel_tiles);
  const int first_channel = static_cast<int>(blockIdx.x % work.channel_tiles) * kTileChannels;
  const int groups = groups_in(work, first_channel);
  load_weights(work, first_channel, groups, w, weights);
  load_input<Stride, kThreads>(work, tile, x, input);
  __syncthreads();
  for (int item = static_cast<int>(threadIdx.x); item < kQuads * groups; item += kThreads) {
    const int group = item % groups, quad = item / groups;
    const int row = quad / (kTile / kColumns), column = quad % (kTile / kColumns) * kColumns;
    const int p = tile.p + row, q = tile.q + column;
    if (p >= work.p || q >= work.q) continue;
    float sum[kColumns][kVector] = {};
    convolve<Stride>(input, weights + group * kVector, row, column, sum);
    const int channel = first_channel + group * kVector;
    float bias[kVector];
    load_bias(epilogue, channel, bias);
    const Index at = ((tile.image * work.p + p) * work.q + q) * work.k + channel;
#pragma unroll
    for (int j = 0; j < kColumns; ++j)
      if (q + j < work.q) store_output(epilogue, bias, at + j * work.k, sum[j], y);
  }
}

}  // namespace

template <class T>
void stem_forward(Stream stream, const StemProblem& p, const T* x, const T* w,
                  const Epilogue<T, float>& epilogue, T* y) {
  require_vectors("stem convolution", p.k, {w, y, epilogue.bias, epilogue.residual});
  const StemWork work = StemWork::of(p);
  const auto start = [&](auto kernel, int shared) {
    launch(stream, "stem convolution", kernel, blocks(Index{work.tiles} * work.channel_tiles),
           kThreads, shared, work, x, w, epilogue, y);
  };
  if (p.stride == 1) return start(stem_kernel<1, T>, kSharedBytes<1>);
  start(stem_kernel<2, T>, kSharedBytes<2>);
}

#define DF_INSTANTIATE(T)                                                    \
  template void stem_forward(Stream, const StemProblem&, const T*, const T*, \
                             const Epilogue<T, float>&, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
