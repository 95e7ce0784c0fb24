#include "kernels/cuda/tuning/difference.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kernels/base/stored.h"
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

// What a warp finds: the first number that is not close, or count, and how far numbers are apart.
struct Found {
  Index first;
  float differences, squares;  // of got less want, and of want: sums of squares
};

// found: of each warp.
template <class T>
__global__ void __launch_bounds__(kThreads)
    difference_kernel(Index count, const T* __restrict__ got, const T* __restrict__ want,
                      Closeness close, Found* __restrict__ found) {
  await_previous_kernels();
  Found own = {count, 0.0f, 0.0f};
  for (Index i = Index{blockIdx.x} * kThreads + threadIdx.x; i < count && own.first == count;
       i += Index{gridDim.x} * kThreads) {
    const float a = to_float(got[i]), b = to_float(want[i]);
    // Written so that a NaN differs, and an infinity.
    if (!(fabsf(a - b) - allowed(close, a, b) <= 0.0f)) own.first = i;
    own.differences = fmaf(a - b, a - b, own.differences);
    own.squares = fmaf(b, b, own.squares);
  }
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    const Index other = __shfl_xor_sync(kAllLanes, own.first, mask);
    if (other < own.first) own.first = other;
    own.differences += __shfl_xor_sync(kAllLanes, own.differences, mask);
    own.squares += __shfl_xor_sync(kAllLanes, own.squares, mask);
  }
  if (threadIdx.x % kWarpSize == 0)
    found[Index{blockIdx.x} * kWarps + threadIdx.x / kWarpSize] = own;
}

template <class T>
double fetch(Stream stream, const T* from, Index i) {
  T value{};
  download(stream, &value, from + i, sizeof value);
  synchronize(stream);
  return value_of(value);
}

template <class T>
Closeness closeness(double terms, double magnitude) {
  constexpr double kDropped = 2 * unit_roundoff<float>() / 16;  // of a sum, for each term
  return {.sums = static_cast<float>(2 * accumulation_error<float>(terms, magnitude) +
                                     2 * underflow<T>()),
          .rounding = static_cast<float>(unit_roundoff<T>()),
          .together = static_cast<float>(
              2 * (accumulation_error<float>(terms, 1) + unit_roundoff<T>() + kDropped * terms))};
}

std::string text_of(const char* format, auto... values) {
  char text[128];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

}  // namespace

Closeness Closeness::of(StorageType type, double terms, double magnitude) {
  return with_type(type, [&]<class T>(T) { return closeness<T>(terms, magnitude); });
}

Comparison::Comparison(Stream stream)
    : stream_(stream), found_(allocate_device(kMostBlocks * kWarps * Index{sizeof(Found)})) {}

template <class T>
std::optional<std::string> Comparison::first_difference_in(Index count, const T* got, const T* want,
                                                           const Closeness& close) {
  const Index used = std::min(divide_up(count, kThreads * kPerThread), kMostBlocks);
  launch(stream_, "comparison of kernels", difference_kernel<T>, blocks(used), kThreads, 0, count,
         got, want, close, static_cast<Found*>(found_.get()));
  std::vector<Found> found(at(used * kWarps));
  download(stream_, found.data(), found_.get(), std::ssize(found) * Index{sizeof(Found)});
  synchronize(stream_);
  Index first = count;
  double differences = 0, squares = 0;
  for (const Found& of_warp : found) {
    first = std::min(first, of_warp.first);
    differences += static_cast<double>(of_warp.differences);
    squares += static_cast<double>(of_warp.squares);
  }
  if (first < count) {
    const double a = fetch(stream_, got, first), b = fetch(stream_, want, first);
    return text_of(
        "[%lld] is %g, not %g within %g", static_cast<long long>(first), a, b,
        static_cast<double>(allowed(close, static_cast<float>(a), static_cast<float>(b))));
  }
  // Below the normal range of the type all may be rounding.
  const double apart = std::sqrt(differences / static_cast<double>(count)) - 2 * underflow<T>();
  const double size = std::sqrt(squares / static_cast<double>(count));
  const auto within = static_cast<double>(close.together);
  if (apart <= within * size) return std::nullopt;
  return text_of(" as a whole: by %g of its root mean square, within %g", apart / size, within);
}

std::optional<std::string> Comparison::first_difference(StorageType type, Index count,
                                                        const void* got, const void* want,
                                                        const Closeness& close) {
  return with_type(type, [&]<class T>(T) {
    return first_difference_in(count, static_cast<const T*>(got), static_cast<const T*>(want),
                               close);
  });
}

}  // namespace dfengine::cuda
