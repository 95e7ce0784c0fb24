// Pixels on their way to what a network reads (kernels/image_normalize.h).
#pragma once

#include "kernels/cuda/platform.cuh"
#include "kernels/image_normalize.h"

namespace dfengine::cuda {

// Of a channel that is not known when the kernel is compiled: as an index it would put the array
// into memory.
__device__ __forceinline__ float of_channel(const float (&values)[3], int channel) {
  return channel == 0 ? values[0] : channel == 1 ? values[1] : values[2];
}

__device__ __forceinline__ float normalized(const PixelAffine& affine, int channel, int pixel) {
  return fmaf(static_cast<float>(pixel), of_channel(affine.scale, channel),
              of_channel(affine.shift, channel));
}

// The bytes of one of several images, four at a time from any of them on. They are read as whole
// words, which costs less than to read four of them.
class ImageBytes {
 public:
  // count: bytes of all images, which are aligned to a word; first: the image's first.
  __device__ __forceinline__ ImageBytes(const std::uint8_t* images, Index count, Index first)
      : words_(reinterpret_cast<const std::uint32_t*>(images) + first / 4),
        ahead_(static_cast<int>(first % 4)),
        before_(static_cast<int>(smaller(first / 4, kFar))),
        words_count_(static_cast<unsigned>(before_ + smaller(count / 4 - first / 4, kFar))) {
#pragma unroll 1
    for (Index i = count / 4 * 4; i < count; ++i)
      tail_ |= static_cast<std::uint32_t>(images[i]) << 8 * (i % 4);
  }
  // Bytes i to i + 3 of the image; of what lies outside of all images anything.
  __device__ __forceinline__ std::uint32_t four(int i) const {
    const int at = i + ahead_;
    const std::uint64_t both = static_cast<std::uint64_t>(word(at >> 2)) |
                               static_cast<std::uint64_t>(word((at >> 2) + 1)) << 32;
    return static_cast<std::uint32_t>(both >> 8 * (at & 3));
  }

 private:
  static constexpr Index kFar = Index{1} << 30;
  static __device__ __forceinline__ Index smaller(Index a, Index b) {
    return a < b ? a : b;
  }
  __device__ __forceinline__ std::uint32_t word(int i) const {
    return static_cast<unsigned>(i + before_) < words_count_ ? words_[i] : tail_;
  }

  const std::uint32_t* words_;  // the one that has the image's first byte
  int ahead_;                   // bytes of it before that
  int before_;                  // words before it, no more than matter
  unsigned words_count_;        // those and the ones from it on
  std::uint32_t tail_ = 0;      // what no whole word has
};

}  // namespace dfengine::cuda
