// Libraries want workspace at multiples of 256 bytes; a plan's arena promises less.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/base/shape.h"

namespace dfengine::cuda {

constexpr Index kWorkspaceAlignment = 256;

// What to book for a workspace of so many bytes.
constexpr Index workspace_room(Index bytes) {
  return bytes == 0 ? 0 : bytes + kWorkspaceAlignment - 1;
}
// Where in that room it lies.
inline std::byte* workspace_in(void* room) {
  const auto place = reinterpret_cast<std::uintptr_t>(room) + kWorkspaceAlignment - 1;
  return reinterpret_cast<std::byte*>(place / kWorkspaceAlignment * kWorkspaceAlignment);
}

}  // namespace dfengine::cuda
