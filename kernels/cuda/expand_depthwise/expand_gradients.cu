// What is left when the pass over y's gradient has made its sums: the parameters' gradients, and
// the part of dx that all pixels have in common.
#include "kernels/cuda/expand_depthwise/expand_depthwise_input.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

using namespace expand_depthwise;

struct ChannelGradients {
  float *w, *gamma, *beta;
  float *a_s, *a_t;  // a * s / M and a * rstd * t / M, each [wide]
};

// A warp for each channel of e; lane i has channel i of x.
template <class Input, class T>
__global__ void __launch_bounds__(kThreads)
    channel_gradients_kernel(ExpandSizes s, float rows, const T* __restrict__ w, Saved saved,
                             const float* __restrict__ sums, ChannelGradients to) {
  await_previous_kernels();
  constexpr int In = Input::kDepth;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int channel =
      static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarpSize;
  if (channel >= s.wide) return;
  const int of_weight = Input::weight_at(s, channel, lane);
  const bool valid = of_weight >= 0;
  const float weight = valid ? to_float(w[of_weight]) : 0.0f;
  const float product = valid ? sums[channel * s.in + lane] : 0.0f;
  const float mean = valid ? saved.mean[lane] : 0.0f;
  float spread = 0.0f;  // row of the covariance times w
  for (int j = 0; j < In; ++j) {
    const float other = __shfl_sync(kAllLanes, weight, j);
    if (valid) spread = fmaf(saved.covariance[lane * In + j], other, spread);
  }
  const float sum = sums[s.wide * s.in + channel], rstd = saved.rstd[channel];
  const float a = saved.scale[channel];
  // R less what the mean of x makes of it, so that nothing cancels between its sums over channels.
  const float centred = fmaf(-mean, sum, product);
  const float t = rstd * warp_sum(weight * centred);
  if (valid) to.w[of_weight] = a * fmaf(-rstd * t, spread, centred);
  if (lane != 0) return;
  to.gamma[channel] = t;
  to.beta[channel] = sum;
  to.a_s[channel] = a * sum / rows;
  to.a_t[channel] = a * rstd * t / rows;
}

// Row i of B [In, In], and behind B b[i] - the row times m: a block for each i, and lane j of its
// warps for column j.
template <int In, class T>
__global__ void __launch_bounds__(kThreads)
    correction_kernel(int in, int wide, const T* __restrict__ w, Saved saved,
                      const float* __restrict__ a_s, const float* __restrict__ a_t,
                      float* __restrict__ correction) {
  await_previous_kernels();
  __shared__ float rows[kWarps][kWarpSize], constants[kWarps];
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, i = static_cast<int>(blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  float row = 0.0f, constant = 0.0f;
  for (int c = warp; c < wide && i < in; c += kWarps) {
    const float own = to_float(w[c * in + i]);
    const float other = lane < in ? to_float(w[c * in + lane]) : 0.0f;
    row = fmaf(own * a_t[c], other, row);
    constant = fmaf(own, a_s[c], constant);
  }
  rows[warp][lane] = row;
  if (lane == 0) constants[warp] = constant;
  __syncthreads();
  if (warp != 0) return;
  for (int k = 1; k < kWarps; ++k) {
    row += rows[k][lane];
    constant += constants[k];
  }
  const float shift = warp_sum(lane < in ? row * saved.mean[lane] : 0.0f);
  if (lane < In) correction[i * In + lane] = row;
  if (lane == 0) correction[In * In + i] = constant - shift;
}

// dx of eight channels of a pixel.
template <int In, class T>
__global__ void __launch_bounds__(kThreads)
    correct_kernel(Index rows, int in, const T* __restrict__ x,
                   const float* __restrict__ correction, const T* __restrict__ projected,
                   Write write, T* __restrict__ dx) {
  await_previous_kernels();
  __align__(16) __shared__ float of_pixels[In * In + In];
  for (int i = static_cast<int>(threadIdx.x); i < In * In + In; i += kThreads)
    of_pixels[i] = correction[i];
  __syncthreads();
  const int per_pixel = in / kVector;
  const Index at = Index{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x);
  if (at >= rows * per_pixel) return;
  const int first = static_cast<int>(at % per_pixel) * kVector;
  const Index pixel = at / per_pixel * in;
  float g[kVector], sums[kVector];
  load8(of_pixels + In * In + first, sums);
  for (int depth = 0; depth < in; depth += kVector) {
    float of_x[kVector];
    load8(x + pixel + depth, of_x);
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      float row[kVector];  // B is its own transpose
      load8(of_pixels + (depth + j) * In + first, row);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sums[i] = fmaf(of_x[j], row[i], sums[i]);
    }
  }
  load8(projected + pixel + first, g);
#pragma unroll
  for (int i = 0; i < kVector; ++i) g[i] -= sums[i];
  if (write == Write::Accumulate) {
    load8(dx + pixel + first, sums);
#pragma unroll
    for (int i = 0; i < kVector; ++i) g[i] += sums[i];
  }
  store8(dx + pixel + first, g);
}

}  // namespace

Index expand_gradients_scratch(const ExpandDepthwiseProblem& p) {
  const Index depths = padded(p.in);
  return 2 * p.wide() + depths * depths + depths;
}

template <class T>
void expand_gradients(Stream stream, const ExpandDepthwiseProblem& p, const void* x, const T* w,
                      const float* saved, const float* sums, float* scratch, float* dw,
                      float* dgamma, float* dbeta, const T* projected, Write write, T* dx) {
  const char* const name = "gradients of an expansion";
  require_input(name, p, x, w);
  require_vectors(name, p.in, {projected, dx});
  const int in = static_cast<int>(p.in), wide = static_cast<int>(p.wide());
  const ChannelGradients to{dw, dgamma, dbeta, scratch, scratch + wide};
  float* const correction = scratch + 2 * wide;
  with_input<T>(p, x, [&](auto input) {
    using Input = decltype(input);
    constexpr int kIn = Input::kDepth;
    const Saved of = Saved::in(saved, p);
    launch(stream, name, channel_gradients_kernel<Input, T>,
           blocks(divide_up(p.wide(), Index{kWarps})), kThreads, 0, wide_sizes(p),
           static_cast<float>(p.rows()), w, of, sums, to);
    if (dx == nullptr) return;
    if constexpr (!Input::kPixelsAlone) {
      launch(stream, name, correction_kernel<kIn, T>, blocks(kIn), kThreads, 0, in, wide, w, of,
             to.a_s, to.a_t, correction);
      launch(stream, name, correct_kernel<kIn, T>,
             blocks(divide_up(p.rows() * (p.in / kVector), Index{kThreads})), kThreads, 0, p.rows(),
             in, input.x, correction, projected, write, dx);
    } else {
      throw ShapeError("an expansion of pixels: pixels have no gradient");
    }
  });
}

#define DF_INSTANTIATE(T)                                                                      \
  template void expand_gradients(Stream, const ExpandDepthwiseProblem&, const void*, const T*, \
                                 const float*, const float*, float*, float*, float*, float*,   \
                                 const T*, Write, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
