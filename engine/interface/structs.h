// Structs that begin with their size, as callers compiled against an older or newer header have
// them.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "engine/interface/dfengine.h"
#include "kernels/base/error.h"

namespace dfengine::interface {

// No header will ever have a larger one; what is said to be larger was never set.
constexpr std::size_t kMostStructBytes = 4096;

// Throws UsageError where the pointer is NULL.
template <class T>
T* required(T* pointer, const char* what) {
  if (pointer == nullptr) throw UsageError(fmt::format("{} is NULL", what));
  return pointer;
}

// first: the size of the struct in the first header that had it. Throws UsageError for a size that
// no header had.
template <class T>
std::size_t checked_size(const T* given, std::size_t first, const char* what) {
  const std::size_t size = required(given, what)->struct_size;
  if (size < first || size > kMostStructBytes)
    throw UsageError(fmt::format("{}.struct_size is {}: set it to sizeof({}), which is {} here",
                                 what, size, what, sizeof(T)));
  return size;
}

// A struct from its caller. Fields that the caller's header lacks are 0; fields that this one lacks
// must be. Throws UsageError.
template <class T>
T read_struct(const T* given, std::size_t first, const char* what) {
  const std::size_t size = checked_size(given, first, what), known = std::min(size, sizeof(T));
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  if (std::any_of(bytes + known, bytes + size, [](unsigned char byte) { return byte != 0; }))
    throw UsageError(
        fmt::format("{} uses fields that this library, version {}, does not have; link a newer one",
                    what, df_version()));
  T value = {};
  std::memcpy(&value, given, known);
  value.struct_size = sizeof(T);
  return value;
}

// A struct to its caller: the fields that both know; others of the caller's become 0.
template <class T>
void write_struct(T* to, std::size_t first, const char* what, const T& value) {
  const std::size_t size = checked_size(to, first, what);
  auto* bytes = reinterpret_cast<unsigned char*>(to);
  std::fill_n(bytes, size, static_cast<unsigned char>(0));
  std::memcpy(to, &value, std::min(size, sizeof(T)));
  to->struct_size = size;
}

}  // namespace dfengine::interface
