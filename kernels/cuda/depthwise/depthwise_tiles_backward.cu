// Both gradients on a tile: v is made in shared memory, the gradient behind the activation takes
// its place, and what the norm's gradient needs of it is added up there.
#include "kernels/cuda/context.h"
#include "kernels/cuda/depthwise/depthwise_tiles.cuh"
#include "kernels/cuda/depthwise/tile_gradient.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

using namespace depthwise_tiles;

// Behind it, of the block's channels: the taps' gradients, [9, channels], and of each strip the
// sums of g and of g x, [2, channels].
template <int Stride, class T>
struct TilesShared {
  alignas(16) T x[2][kPixels * kPitch];
  alignas(16) T v[kPixels * kPitch];
  alignas(16) T dy[kHalo<Stride> * kHalo<Stride> * kPitch];
  BackwardShared<T> chunk;
};
constexpr int kSums = 2, kKept = kTaps + kSums * kStrips;

// Where a gradient passes, as the activation has seen x. x: at the group's first channel.
template <class T>
struct PassesByNorm {
  Activation activation;
  float2 scale[2], shift[2];
  const T* x;
  __device__ __forceinline__ PassesByNorm(const Share& share, const ChunkNorm& norm,
                                          Activation behind, const T* tile)
      : activation(behind), x(tile + share.group) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int channel = share.group + 8 * half + 2 * share.t;
      scale[half] = *reinterpret_cast<const float2*>(norm.scale + channel);
      shift[half] = *reinterpret_cast<const float2*>(norm.shift + channel);
    }
  }
  __device__ __forceinline__ void operator()(int at, int half, bool (&passes)[2]) const {
    float value[2];
    unpack_pair<T>(*reinterpret_cast<const std::uint32_t*>(x + at), value);
    passes[0] = passes_gradient(activation, normalised(value[0], scale[half].x, shift[half].x));
    passes[1] = passes_gradient(activation, normalised(value[1], scale[half].y, shift[half].y));
  }
};

// Adds the sums of g and of g x over the warp's pixels of a chunk to those of its strip, [2,
// pitch], of so many channels. The second are the diagonal of a product.
template <class T>
__device__ __forceinline__ void keep_sums(const Share& share, int channels, int pitch, const T* g,
                                          const T* x, float* kept) {
  constexpr int kSteps = kPixels / kStrips / 16;
  const std::uint32_t ones = pack_pair<T>(1.0f, 1.0f);
  float totals[4] = {}, products[2][4] = {};
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int first = (kSteps * share.strip + step) * 16;
    std::uint32_t a[4], b[4];
    load_a_transposed(a, g + first * kPitch + share.group, kPitch, share.lane);
    load_matrices_transposed(
        b, x + (first + share.lane % 16) * kPitch + share.group + share.lane / 16 * 8);
    mma_16x8x16<T>(totals, a, {ones, ones});
#pragma unroll
    for (int half = 0; half < 2; ++half)
      mma_16x8x16<T>(products[half], a, {b[2 * half], b[2 * half + 1]});
  }
  if (!share.on_diagonal()) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int channel = share.group + share.g + 8 * half;
    if (channel >= channels) continue;
    const float(&of)[4] = products[half];
    kept[channel] += totals[2 * half];
    kept[pitch + channel] += share.g % 2 == 0 ? of[2 * half] : of[2 * half + 1];
  }
}

// dx of a chunk, as it lies in a tile.
template <class T>
__device__ __forceinline__ void store_tile(const Sizes& s, const Place& place, int first,
                                           const T* g, T* dx) {
  T* const image = dx + Index{place.image} * s.h * s.w * s.wide;
  const int channel = first + static_cast<int>(threadIdx.x) % kVectors * kVector;
  for_each_own_vector([&](int at, int row, int column) {
    if (channel >= s.wide || !place.has(s, row, column)) return;
    const int to = ((place.row + row) * s.w + place.column + column) * s.wide + channel;
    store_packed(image + to, load_packed(g + at));
  });
}

// What the block has added up. partials [9, c], sums [2, c]; mean: of x.
__device__ __forceinline__ void write_sums(const Sizes& s, const Own& own, const float* kept,
                                           const float* mean, float* partials, float* sums) {
  for (int i = static_cast<int>(threadIdx.x); i < own.channels; i += kThreads) {
    const int channel = own.begin + i;
    for (int tap = 0; tap < kTaps; ++tap)
      partials[tap * s.wide + channel] = kept[tap * own.channels + i];
    float of_g = 0.0f, of_products = 0.0f;
    for (int strip = 0; strip < kStrips; ++strip) {
      const float* const of_strip = kept + (kTaps + kSums * strip) * own.channels + i;
      of_g += of_strip[0];
      of_products += of_strip[own.channels];
    }
    sums[channel] = of_g;
    sums[s.wide + channel] = fmaf(-mean[channel], of_g, of_products);
  }
}

template <int Stride, class T, class Of>
__global__ void __launch_bounds__(kThreads, 2)
    depthwise_tiles_backward_kernel(TileWork work, const T* __restrict__ x, Of of,
                                    const T* __restrict__ taps, NormOnLoad norm,
                                    float* __restrict__ partials, float* __restrict__ sums,
                                    T* __restrict__ dx) {
  await_previous_kernels();
  DF_DYNAMIC_SHARED(bytes);
  auto& shared = *reinterpret_cast<TilesShared<Stride, T>*>(bytes);
  const Sizes& s = work.sizes;
  const Own own(work);
  const Share share;
  float* const kept = reinterpret_cast<float*>(&shared + 1);
  float* const of_strip = kept + (kTaps + kSums * share.strip) * own.channels;
  for (int i = static_cast<int>(threadIdx.x); i < kKept * own.channels; i += kThreads)
    kept[i] = 0.0f;
  int turn = 0;
  const auto start = [&](int tile, int first, int to) {
    const Place place = Place::of(s, tile);
    load_tile(s, place, first, x, shared.x[to]);
    load_gradient<Stride>(s, place, first, of, shared.dy);
    shared.chunk.of_taps.load(s, first, taps);
    shared.chunk.norm.load(s, first, norm.scale, norm.shift);
    copy_async_commit();
  };
  if (own.part < s.tiles) start(own.part, own.begin, 0);
  for (int tile = own.part; tile < s.tiles; tile += own.parts) {
    const Place place = Place::of(s, tile);
#pragma unroll 1
    for (int done = 0; done < own.channels; done += kChunk, turn = 1 - turn) {
      const T* const of_x = shared.x[turn];
      const int first = own.begin + done, left = own.channels - done;
      copy_async_wait<0>();
      __syncthreads();
      normalise_tile(s, place, shared.chunk.norm, of_x, shared.v);
      __syncthreads();
      differentiate<Stride>(s, place, share,
                            PassesByNorm<T>(share, shared.chunk.norm, s.activation, of_x),
                            shared.dy, shared.v, shared.chunk);
      __syncthreads();
      // From here on only g, x and the taps' sums are read: the next chunk may come.
      if (left > kChunk)
        start(tile, first + kChunk, 1 - turn);
      else if (tile + own.parts < s.tiles)
        start(tile + own.parts, own.begin, 1 - turn);
      keep_taps(left, own.channels, shared.chunk, kept + done);
      keep_sums(share, left, own.channels, shared.v, of_x, of_strip + done);
      store_tile(s, place, first, shared.v, dx);
    }
  }
  __syncthreads();
  write_sums(s, own, kept, norm.mean, partials + Index{own.part} * kTaps * s.wide,
             sums + Index{own.part} * kSums * s.wide);
}

TileWork divide(const DepthwiseProblem& p, Activation activation) {
  return TileWork::of(input_sizes(p, activation));
}

template <int Stride, class T>
std::size_t shared_bytes(const TileWork& work) {
  return sizeof(TilesShared<Stride, T>) + kKept * at(work.channels) * sizeof(float);
}

}  // namespace

bool has_depthwise_tiles_backward(const DepthwiseProblem& p) {
  if (!has_depthwise_tiles(p)) return false;
  const TileWork work = divide(p, Activation::None);
  return (p.stride == 1 ? shared_bytes<1, Half>(work) : shared_bytes<2, Half>(work)) <=
         shared_memory_limit();
}

Index depthwise_tiles_gradient_parts(const DepthwiseProblem& p) {
  return divide(p, Activation::None).parts();
}

template <class T>
void depthwise_tiles_backward(Stream stream, const DepthwiseProblem& p, const T* x, const T* y,
                              const T* dy, const T* w, const NormOnLoad& norm,
                              const GradientOnLoad& gradient, float* scratch, float* dw, T* dx,
                              const GradientSums& sums) {
  const char* const name = "depthwise gradient on tiles";
  require_few_values(name, "a picture", p.h * p.w * p.c, kMostInInt);
  require_vectors(name, p.c,
                  {x, y, dy, w, norm.scale, norm.shift, norm.mean, gradient.factors, dx});
  const TileWork work = divide(p, norm.activation);
  with_gradient(y, dy, gradient, [&](auto of) {
    using Of = decltype(of);
    const auto start = [&](auto kernel, std::size_t shared) {
      launch(stream, name, kernel, blocks(sums.parts * work.groups), kThreads, shared, work, x, of,
             w, norm, scratch, sums.values, dx);
    };
    if (p.stride == 1)
      start(depthwise_tiles_backward_kernel<1, T, Of>, shared_bytes<1, T>(work));
    else
      start(depthwise_tiles_backward_kernel<2, T, Of>, shared_bytes<2, T>(work));
  });
  if (dw != nullptr) ordered_sum(stream, sums.parts, kTaps * p.c, sums.parts, scratch, dw);
}

#define DF_INSTANTIATE(T)                                                                         \
  template void depthwise_tiles_backward(                                                         \
      Stream, const DepthwiseProblem&, const T*, const T*, const T*, const T*, const NormOnLoad&, \
      const GradientOnLoad&, float*, float*, T*, const GradientSums&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
