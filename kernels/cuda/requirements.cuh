// What launchers of kernels require of their arguments.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/base/error.h"
#include "kernels/cuda/platform.cuh"

namespace dfengine::cuda {

// Throws ShapeError unless eight channels at a time can be loaded from all of these pointers. A
// null pointer is fine.
inline void require_vectors(const char* name, Index channels,
                            std::initializer_list<const void*> pointers) {
  if (channels % kVector != 0)
    throw ShapeError(std::string(name) + " on the device: " + std::to_string(channels) +
                     " channels; use a multiple of 8");
  for (const void* p : pointers)
    if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0)
      throw ShapeError(std::string(name) +
                       " on the device: a tensor is not aligned to 16 bytes; allocate it by itself "
                       "or at a multiple of 16 bytes");
}

// What kernels count in 32 bits, and in an int.
constexpr Index kMostCounted = 0xFFFFFFFF, kMostInInt = 0x7FFFFFFF;

// `count` for arithmetic in 32 bits. Throws ShapeError when it does not fit.
inline unsigned narrow_count(const char* name, Index images, Index count) {
  if (count > kMostInInt)
    throw ShapeError(std::string(name) + " on the device: " + std::to_string(images) +
                     " images are too many for one launch; use a smaller batch");
  return static_cast<unsigned>(count);
}

// Throws ShapeError where there are more values.
inline void require_few_values(const char* name, const char* of, Index count,
                               Index most = kMostCounted) {
  if (count > most)
    throw ShapeError(std::string(name) + " on the device: " + of + " of " + std::to_string(count) +
                     " values is too large; at most " + std::to_string(most) + " can be counted");
}

}  // namespace dfengine::cuda
