// What a check of kernels on a device starts from and what it reads back.
#pragma once

#include <cmath>
#include <type_traits>
#include <vector>

#include "kernels/base/random.h"
#include "kernels/base/stored.h"
#include "kernels/cuda/runtime.h"

namespace dfengine::cuda::check {

using Values = std::vector<double>;

// An array on the device.
template <class T>
class Array {
 public:
  Array(Stream stream, Index count)
      : stream_(stream), count_(count), memory_(allocate_device(count * Index{sizeof(T)})) {}
  Array(Stream stream, const Values& values) : Array(stream, std::ssize(values)) {
    std::vector<T> all;
    for (double v : values) {
      if constexpr (std::is_same_v<T, std::uint8_t>)
        all.push_back(static_cast<T>(v));
      else
        all.push_back(stored<T>(v));
    }
    upload(stream, memory_.get(), all.data(), count_ * Index{sizeof(T)});
  }
  T* data() const { return static_cast<T*>(memory_.get()); }
  Values values() const {
    std::vector<T> all(at(count_));
    download(stream_, all.data(), memory_.get(), count_ * Index{sizeof(T)});
    synchronize(stream_);
    Values out;
    for (T v : all) out.push_back(value_of(v));
    return out;
  }

 private:
  Stream stream_;
  Index count_;
  DeviceMemory memory_;
};

// Whole numbers in [low, high], or any in between.
inline Values numbers(Index count, std::uint64_t seed, double low, double high, bool whole) {
  Random random(seed, RandomStream::Init, 0);
  Values values(at(count));
  for (double& v : values) {
    v = random.uniform(low, whole ? high + 1 : high);
    if (whole) v = std::floor(v);
  }
  return values;
}

}  // namespace dfengine::cuda::check
