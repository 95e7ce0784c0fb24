#include "kernels/cuda/tuning/difference.h"

#include <algorithm>
#include <cstdio>

#include "kernels/base/tolerance.h"
#include "kernels/cuda/launch.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
// Several rounds of blocks on the largest GPUs.
constexpr Index kMostBlocks = 1024, kPerThread = 16;

__host__ __device__ __forceinline__ float allowed(const Closeness& close, float a, float b) {
  return close.sums + close.rounding * (fabsf(a) + fabsf(b));
}

// first: of each warp, or count where all numbers lie close.
template <class T>
__global__ void __launch_bounds__(kThreads)
    difference_kernel(Index count, const T* __restrict__ got, const T* __restrict__ want,
                      Closeness close, Index* __restrict__ first) {
  await_previous_kernels();
  Index found = count;
  for (Index i = Index{blockIdx.x} * kThreads + threadIdx.x; i < count && found == count;
       i += Index{gridDim.x} * kThreads) {
    const float a = to_float(got[i]), b = to_float(want[i]);
    // Written so that a NaN differs, and an infinity.
    if (!(fabsf(a - b) - allowed(close, a, b) <= 0.0f)) found = i;
  }
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    const Index other = __shfl_xor_sync(kAllLanes, found, mask);
    if (other < found) found = other;
  }
  if (threadIdx.x % kWarpSize == 0)
    first[Index{blockIdx.x} * kWarps + threadIdx.x / kWarpSize] = found;
}

// On the host: to_float is the device's, and nvcc makes a call of it from here end the program.
float on_host(Half x) {
  return f16_to_float(x.bits);
}
float on_host(BFloat16 x) {
  return bf16_to_float(x.bits);
}
float on_host(float x) {
  return x;
}

template <class T>
float fetch(Stream stream, const T* from, Index i) {
  T value{};
  download(stream, &value, from + i, sizeof value);
  synchronize(stream);
  return on_host(value);
}

template <class T>
Closeness closeness(double terms, double magnitude) {
  return {.sums = static_cast<float>(2 * accumulation_error<float>(terms, magnitude) +
                                     2 * underflow<T>()),
          .rounding = static_cast<float>(unit_roundoff<T>())};
}

// Calls body with a pointer to the type.
template <class Body>
auto with_type(StorageType type, Body&& body) {
  switch (type) {
    case StorageType::F16:
      return body(static_cast<const Half*>(nullptr));
    case StorageType::BF16:
      return body(static_cast<const BFloat16*>(nullptr));
    case StorageType::F32:
      break;
  }
  return body(static_cast<const float*>(nullptr));
}

}  // namespace

Closeness Closeness::of(StorageType type, double terms, double magnitude) {
  return with_type(type, [&]<class T>(const T*) { return closeness<T>(terms, magnitude); });
}

Comparison::Comparison(Stream stream)
    : stream_(stream), found_(allocate_device(kMostBlocks * kWarps * Index{sizeof(Index)})) {}

template <class T>
std::optional<std::string> Comparison::first_difference_in(Index count, const T* got, const T* want,
                                                           const Closeness& close) {
  const Index used = std::min(divide_up(count, kThreads * kPerThread), kMostBlocks);
  launch(stream_, "comparison of kernels", difference_kernel<T>, blocks(used), kThreads, 0, count,
         got, want, close, static_cast<Index*>(found_.get()));
  std::vector<Index> first(at(used * kWarps));
  download(stream_, first.data(), found_.get(), std::ssize(first) * Index{sizeof(Index)});
  synchronize(stream_);
  const Index i = *std::ranges::min_element(first);
  if (i == count) return std::nullopt;
  const float a = fetch(stream_, got, i), b = fetch(stream_, want, i);
  char text[128];
  std::snprintf(text, sizeof text, "[%lld] is %g, not %g within %g", static_cast<long long>(i),
                static_cast<double>(a), static_cast<double>(b),
                static_cast<double>(allowed(close, a, b)));
  return text;
}

std::optional<std::string> Comparison::first_difference(StorageType type, Index count,
                                                        const void* got, const void* want,
                                                        const Closeness& close) {
  return with_type(type, [&]<class T>(const T*) {
    return first_difference_in(count, static_cast<const T*>(got), static_cast<const T*>(want),
                               close);
  });
}

}  // namespace dfengine::cuda
