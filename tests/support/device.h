// Arrays on the device for tests of kernels and layers: a GPU, or in builds without CUDA the
// stand-in (kernels/cuda/emulated).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/base/half.h"
#include "kernels/base/stored.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/runtime.h"
#include "tests/support/tolerance.h"

#if !DFENGINE_CUDA
#include "kernels/cuda/emulated/order.h"
#endif

// First line of every test that runs device kernels.
#define DF_NEEDS_DEVICE() \
  if (!cuda::is_emulated() && !cuda::available()) GTEST_SKIP() << "no CUDA device on this machine"

// In tests of whole networks: the stand-in's fibers are fifteen times slower under the address
// sanitizer, which sees the same kernels and layers in the smaller tests.
#if defined(__SANITIZE_ADDRESS__)
#define DF_SLOW_UNDER_SANITIZERS() GTEST_SKIP() << "too slow under the address sanitizer"
#else
#define DF_SLOW_UNDER_SANITIZERS()
#endif

namespace dfengine::test {

template <class T>
std::vector<T> rounded(const std::vector<double>& values) {
  std::vector<T> out;
  for (double v : values) out.push_back(stored<T>(v));
  return out;
}

// The very numbers that the device sees: what the double oracle is fed.
template <class T>
std::vector<double> as_stored(const std::vector<double>& values) {
  std::vector<double> out;
  for (double v : values) out.push_back(value_of(stored<T>(v)));
  return out;
}

// One array on the device between two strips of NaN: a write outside stays visible.
template <class T>
class DeviceArray {
 public:
  // NaN: a value that is read, or never written, shows.
  explicit DeviceArray(Index count)
      : DeviceArray(std::vector<double>(at(count), std::numeric_limits<double>::quiet_NaN())) {}
  explicit DeviceArray(const std::vector<double>& values)
      : count_(static_cast<Index>(values.size())),
        memory_(cuda::allocate_device((count_ + 2 * kStrip) * Index{sizeof(T)})) {
    std::vector<T> all(values.size() + 2 * kStrip,
                       stored<T>(std::numeric_limits<double>::quiet_NaN()));
    for (std::size_t i = 0; i < values.size(); ++i) all[kStrip + i] = stored<T>(values[i]);
    cuda::upload(nullptr, memory_.get(), all.data(), bytes(all));
    cuda::synchronize(nullptr);
  }

  T* data() { return static_cast<T*>(memory_.get()) + kStrip; }

  // Waits for the default stream; fails the test if a strip was written to.
  std::vector<double> values() const {
    std::vector<T> all(at(count_) + 2 * kStrip);
    cuda::download(nullptr, all.data(), memory_.get(), bytes(all));
    cuda::synchronize(nullptr);
    for (std::size_t i = 0; i < kStrip; ++i) {
      EXPECT_TRUE(std::isnan(value_of(all[i]))) << "written " << kStrip - i << " before";
      EXPECT_TRUE(std::isnan(value_of(all[all.size() - 1 - i])))
          << "written " << kStrip - i << " behind";
    }
    std::vector<double> out;
    for (std::size_t i = kStrip; i + kStrip < all.size(); ++i) out.push_back(value_of(all[i]));
    return out;
  }

 private:
  // A multiple of 16 bytes for every type, and more than a tile's row.
  static constexpr std::size_t kStrip = 256;
  static Index bytes(const std::vector<T>& v) { return static_cast<Index>(v.size() * sizeof(T)); }
  Index count_;
  cuda::DeviceMemory memory_;
};

// Structs on the device.
template <class S>
class DeviceStructs {
 public:
  explicit DeviceStructs(const std::vector<S>& values)
      : count_(values.size()), memory_(cuda::allocate_device(std::max<Index>(bytes(), 1))) {
    cuda::upload(nullptr, memory_.get(), values.data(), bytes());
    cuda::synchronize(nullptr);
  }
  S* data() { return static_cast<S*>(memory_.get()); }
  std::vector<S> values() const {
    std::vector<S> out(count_);
    cuda::download(nullptr, out.data(), memory_.get(), bytes());
    cuda::synchronize(nullptr);
    return out;
  }

 private:
  Index bytes() const { return static_cast<Index>(count_ * sizeof(S)); }
  std::size_t count_;
  cuda::DeviceMemory memory_;
};

// Runs body with both orders of threads, where the device is the stand-in: a missing barrier gives
// different results in one of them. Once on a GPU.
template <class Body>
void for_each_thread_order(Body&& body) {
#if DFENGINE_CUDA
  body();
#else
  for (cuda::emulated::Order order :
       {cuda::emulated::Order::Backward, cuda::emulated::Order::Forward}) {
    SCOPED_TRACE(order == cuda::emulated::Order::Forward ? "threads forward" : "threads backward");
    cuda::emulated::set_order(order);
    body();
  }
#endif
}

}  // namespace dfengine::test
